#!/usr/bin/env bash
# Real Apache Kafka as the log. First a city loaded through it: its tables must say what those over the embedded log say. Then records
# pushed and asked for at once (fresh.sh). Then the lab (tests/kafka/lab.py): brokers killed, stopped and cut off, ingest processes killed and
# added, under steady pushes.
#
# Arguments go to the lab, e.g. the long form of about half an hour:
#   tests/checks/kafka.sh --rate 2000 --kills 20 --stops 10 --stop-seconds 30 --cuts 10 --cut-seconds 10 --moves 15 --freezes 5
# SHIYU names another program, e.g. an optimised one. Prints one JSON line per part. Skips loudly without java, mvn, python3, or where their
# packages cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in java mvn python3; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
venv="${XDG_CACHE_HOME:-$HOME/.cache}/shiyu/kafka-venv"
if ! cmp -s tests/kafka/requirements.txt "$venv/complete"; then
    { python3 -m venv "$venv" && "$venv/bin/pip" -q install -r tests/kafka/requirements.txt && cp tests/kafka/requirements.txt "$venv/complete"; } >/dev/null 2>&1 ||
        { echo "skipped: python3 cannot make a venv with tests/kafka/requirements.txt"; exit 0; }
fi
shiyu="${SHIYU:-${CARGO_TARGET_DIR:-target}/debug/shiyu}"
work=$(mktemp -d)
export KAFKA_LAB="$work/kafka"
trap 'bash tests/kafka/kafka stop; rm -rf "$work"' EXIT
servers=$(bash tests/kafka/kafka start 1) || { echo "skipped: Kafka cannot be started here"; exit 0; }

ask() { # data folder: what the tables say, but for when records arrived
    for question in \
        "SELECT feed, record_id, kind, outcome, source_version, content_hash, category, state, cell FROM events ORDER BY 1, 2, 3, 4, 5, 6" \
        "SELECT feed, record_id, state, category, counted, cell, occurred_at FROM cases ORDER BY 1, 2" \
        "SELECT cell, category, channel, sum(count) AS count FROM cells GROUP BY 1, 2, 3 HAVING sum(count) <> 0 ORDER BY 1, 2, 3"; do
        "$shiyu" --data-dir "$1" --output csv sql --city deploy/cities/yunlan --var CITY_DATA="$work/records" "$question"
    done
}

"$shiyu" simulate --seed 7 --days 7 --scale 0.1 --out "$work/records" >/dev/null
load() { # data folder, log
    "$shiyu" --data-dir "$1" --output json load --city deploy/cities/yunlan --var CITY_DATA="$work/records" --log "$2"
}
load "$work/local" local >"$work/local.balance"
load "$work/remote" "kafka://$servers/equal?partitions=3" >"$work/remote.balance"
cmp "$work/local.balance" "$work/remote.balance"
ask "$work/local" >"$work/local.csv"
ask "$work/remote" >"$work/remote.csv"
cmp "$work/local.csv" "$work/remote.csv"
load "$work/remote" "kafka://$servers/equal" >"$work/again.balance"
ask "$work/remote" >"$work/again.csv"
cmp "$work/local.csv" "$work/again.csv"
if load "$work/remote" "kafka://$servers/other" 2>"$work/refused" >/dev/null; then
    echo "FAILED: a data folder takes another log"; exit 1
elif [ $? != 78 ]; then
    echo "FAILED: another log is not refused with 78:"; cat "$work/refused"; exit 1
fi
# Only put into the log: what became of the records is another process's to say.
"$shiyu" --data-dir "$work/connect" --output json load --city deploy/cities/yunlan --var CITY_DATA="$work/records" --role connect \
    --log "kafka://$servers/handed?partitions=3" --shared "$work/handed" >"$work/handed.balance"
grep -q "logged, settled by another process" "$work/handed.balance" || { echo "FAILED: load --role connect logged nothing:"; cat "$work/handed.balance"; exit 1; }
echo "{\"check\":\"kafka-equal\",\"rows\":$(wc -l <"$work/local.csv"),\"sha256\":\"$(sha256sum "$work/remote.csv" | cut -d' ' -f1)\",\"equal\":true}"
# One process that folds all of it: what it has settled is in the next query, as over the embedded log.
bash tests/checks/fresh.sh 10 --log "kafka://$servers/fresh?partitions=3"
bash tests/kafka/kafka wipe

"$venv/bin/python" tests/kafka/lab.py "$shiyu" "$@"
