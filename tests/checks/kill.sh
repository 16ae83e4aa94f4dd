#!/usr/bin/env bash
# kill -9 in mid-load, again and again; after restart and finish the tables must equal those of an undisturbed run, row for row, but for
# the times of receipt.
#
#   kill.sh [KILLS [CITY INPUT]]     default: 6 kills of the invented city's load
#   kill.sh 20 deploy/cities/stlouis ../shared/data/stl
#
# A kill comes when the log of events has grown beyond a random share of its final size, and a random while later: so kills hit the
# reading, the log, the fold, its commits, the tables' commits, and the recovery from the kill before.
set -euo pipefail
cd "$(dirname "$0")/../.."
kills=${1:-6}
city=${2:-deploy/cities/yunlan}
input=${3:-}
shiyu="${SHIYU_BIN:-${CARGO_TARGET_DIR:-target}/debug/shiyu}"
RANDOM=${SEED:-$$}
echo "seed $RANDOM"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "$input" ]; then
    input="$work/records"
    "$shiyu" simulate --seed 7 --days 30 --out "$input" >/dev/null
fi
[ -e "$input" ] || { echo "skipped: no $input"; exit 0; }

load() { # FOLDER
    "$shiyu" --data-dir "$work/$1" --output json load --city "$city" --input "$input" >"$work/$1.balance" 2>>"$work/$1.log"
}

logged() { # FOLDER: bytes in the log of events
    local bytes
    bytes=$(du -cb "$work/$1"/log/events.v1/*/*.seg 2>/dev/null | tail -n 1 | cut -f 1) || true
    echo "${bytes:-0}"
}

# A line per table: name, rows, checksum of its rows whatever their order.
sums() { # FOLDER
    local table columns
    while read -r table columns; do
        "$shiyu" --data-dir "$work/$1" --output csv sql --city "$city" --var "CITY_DATA=$input" "SELECT $columns FROM $table" |
            tail -n +2 | LC_ALL=C sort >"$work/rows"
        echo "$table $(wc -l <"$work/rows") $(sha256sum <"$work/rows" | cut -d ' ' -f 1)"
    done <<'TABLES'
events feed, record_id, kind, outcome, source_version, updated_at, content_hash, channel, origin, category, source_category, state, source_status, severity, holder, occurred_at, time_precision, local_date, local_hour, local_month, reported_at, closed_at, due_at, source_occurred_at, lat, lng, cell, place_precision, source_x, source_y, source_datum, address, areas, attributes, flags, source, source_row, revision
cases *
withdrawals *
cells *
rejections feed, source, source_row, code, "column", message, revision
TABLES
}

begun=$(date +%s%N)
load undisturbed
milliseconds=$((($(date +%s%N) - begun) / 1000000))
size=$(logged undisturbed)
echo "undisturbed: $milliseconds ms, $size bytes of log"

# Thresholds in order, thousandths of the log's final size.
mapfile -t thresholds < <(for ((kill = 0; kill < kills; kill++)); do echo $((10 + (RANDOM * 32768 + RANDOM) % 890)); done | sort -n)
landed=0
for threshold in "${thresholds[@]}"; do
    "$shiyu" --data-dir "$work/killed" --output json load --city "$city" --input "$input" >/dev/null 2>>"$work/killed.log" &
    child=$!
    while kill -0 "$child" 2>/dev/null && [ "$(logged killed)" -lt $((size / 1000 * threshold)) ]; do
        sleep 0.01
    done
    # In thousandths of a second, up to half of what a kill has of the whole run.
    delay=$(((RANDOM * 32768 + RANDOM) % (milliseconds / kills / 2 + 1)))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill -9 "$child" 2>/dev/null || true
    status=0
    wait "$child" 2>/dev/null || status=$?
    if [ "$status" = 137 ]; then
        landed=$((landed + 1))
        echo "kill $landed at $threshold/1000 of the log and $delay ms: $(logged killed) bytes of log"
    elif [ "$status" = 0 ]; then
        echo "the load ended before the kill at $threshold/1000"
    else
        echo "the load failed with $status"
        tail -n 20 "$work/killed.log"
        exit 1
    fi
done
load killed
if [ "$landed" -lt "$kills" ]; then
    echo "only $landed of $kills kills came in time: give a larger input"
    exit 1
fi

# The last run's own balance closes, or `load` had failed; its totals of withdrawals are of the whole log.
for run in undisturbed killed; do
    grep '"withdrawn"' "$work/$run.balance" | sed 's/"read".*"withdrawn"/"withdrawn"/' >"$work/$run.totals"
done
grep '"withdrawn"' "$work/killed.balance"
sums undisturbed >"$work/undisturbed.sums"
sums killed >"$work/killed.sums"
cat "$work/killed.sums"
diff "$work/undisturbed.totals" "$work/killed.totals"
diff "$work/undisturbed.sums" "$work/killed.sums"
echo "equal after $landed kills"
