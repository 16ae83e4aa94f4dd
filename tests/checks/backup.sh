#!/usr/bin/env bash
# Backup, restore, rebuild: a restored hub and a rebuilt one answer as the first one did. Prints one JSON line.
set -euo pipefail
cd "$(dirname "$0")/../.."
shiyu="$(realpath "${CARGO_TARGET_DIR:-target}/debug/shiyu")"
work=$(mktemp -d)
serving=""
trap '[ -z "$serving" ] || kill "$serving" 2>/dev/null || true; rm -rf "$work"' EXIT
city=deploy/cities/yunlan
run() { local data=$1; shift; "$shiyu" --data-dir "$work/$data" --output csv "$@"; }
# What the tables say, but for when records came.
answers() {
    run "$1" sql --city $city "SELECT feed, record_id, kind, outcome, source_version, updated_at, content_hash, category, state, occurred_at, cell FROM events ORDER BY 1, 2, 5, 6, 7" >"$work/$1.events"
    run "$1" sql --city $city "SELECT * FROM cases ORDER BY feed, record_id" >"$work/$1.cases"
    run "$1" sql --city $city "SELECT * FROM cells ORDER BY 1, 2, 3, 4, 5, 6, 7" >"$work/$1.cells"
    run "$1" sql --city $city "SELECT feed, source, source_row, code FROM rejections ORDER BY 1, 2, 3" >"$work/$1.rejections"
    cat "$work/$1".{events,cases,cells,rejections} | sha256sum | cut -d' ' -f1
}
"$shiyu" simulate --seed 7 --days 6 --scale 0.02 --out "$work/all" >/dev/null
mkdir -p "$work/late"
# A part of the records comes after the backup.
mv "$work/all/grid" "$work/late/grid"
run one load --city $city --input "$work/all" >"$work/load.log" 2>&1
before=$(answers one)
run one backup --city $city --to "$work/backup" >/dev/null
# A second backup is made by a hub that serves.
"$shiyu" --data-dir "$work/one" serve --city $city --var CITY_DATA="$work/none" --grpc 127.0.0.1:0 --flight 127.0.0.1:0 --postgres 127.0.0.1:0 --http 127.0.0.1:0 >"$work/serve.log" 2>&1 &
serving=$!
until grep -q "is served" "$work/serve.log" 2>/dev/null; do kill -0 $serving || { cat "$work/serve.log"; exit 1; }; sleep 0.2; done
run one backup --city $city --to "$work/backup-served" >/dev/null
kill -TERM $serving
stopped=0; wait $serving || stopped=$?
serving=""

run two restore --from "$work/backup" --verify >/dev/null
restored=$(answers two)
run three restore --from "$work/backup-served" --verify >/dev/null
served=$(answers three)
# Both go on in the same way.
run one load --city $city --input "$work/late" >/dev/null 2>&1
run two load --city $city --input "$work/late" >/dev/null 2>&1
after_one=$(answers one)
after_two=$(answers two)
run two rebuild --city $city >/dev/null
rebuilt=$(answers two)
# What is not as it was written is refused, and so is a folder in use.
refused=0; run two restore --from "$work/backup" >/dev/null 2>&1 || refused=$?
segment=$(find "$work/backup/log" -name '*.seg' -size +0 | head -1)
printf x | dd of="$segment" bs=1 seek=40 conv=notrunc 2>/dev/null
damaged=0; run four restore --from "$work/backup" >/dev/null 2>&1 || damaged=$?
problems=""
[ "$before" = "$restored" ] || problems="$problems restored-differs"
[ "$before" = "$served" ] || problems="$problems backup-of-serving-hub-differs"
[ "$after_one" = "$after_two" ] || problems="$problems goes-on-differently"
[ "$after_one" != "$before" ] || problems="$problems late-records-are-missing"
[ "$rebuilt" = "$after_two" ] || problems="$problems rebuilt-differs"
[ "$stopped" = 0 ] || problems="$problems serve-ended-with-$stopped"
[ "$refused" = 65 ] || problems="$problems full-folder-gives-$refused"
[ "$damaged" = 65 ] || problems="$problems damaged-backup-gives-$damaged"
echo "{\"check\":\"backup\",\"cases\":$(($(wc -l <"$work/two.cases") - 1)),\"events\":$(($(wc -l <"$work/two.events") - 1)),\"checksum\":\"$rebuilt\",\"problems\":\"${problems# }\"}"
[ -z "$problems" ]
