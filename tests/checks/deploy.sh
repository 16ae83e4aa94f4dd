#!/usr/bin/env bash
# What lies in deploy/ is well formed, and every metric its dashboard and alert rules name is exported by a hub that has some load.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
command -v curl >/dev/null || { echo "skipped: no curl"; exit 0; }
shiyu="$(realpath "${CARGO_TARGET_DIR:-target}/debug/shiyu")"
work=$(mktemp -d)
serving=""
trap '[ -z "$serving" ] || kill "$serving" 2>/dev/null || true; rm -rf "$work"' EXIT

if command -v systemd-analyze >/dev/null; then
    for unit in deploy/systemd/*.service; do
        # Only the program's place is another one here.
        sed "s#/usr/bin/shiyu#$shiyu#; /^Documentation=/d" "$unit" >"$work/$(basename "$unit")"
        systemd-analyze verify "$work/$(basename "$unit")" 2>&1 | grep -i "shiyu.*\(unknown\|failed to parse\|invalid\|ignoring\)" && exit 1
    done
else
    echo "skipped the units: no systemd-analyze"
fi
if docker compose version >/dev/null 2>&1; then
    docker compose -f deploy/compose.yaml config --quiet
else
    echo "skipped 'docker compose config': no docker compose"
fi

"$shiyu" simulate --seed 7 --days 2 --scale 0.02 --out "$work/records" >/dev/null
mkdir -p "$work/records/police"
printf 'no,header,we,know\n1,2,3,4\n' >"$work/records/police/broken.csv"
"$shiyu" --data-dir "$work/data" serve --city deploy/cities/yunlan --var CITY_DATA="$work/records" --grpc 127.0.0.1:0 --flight 127.0.0.1:0 --postgres 127.0.0.1:0 --http 127.0.0.1:0 >"$work/out" 2>"$work/err" &
serving=$!
until grep -q "is served" "$work/out" 2>/dev/null; do kill -0 $serving || { cat "$work/err"; exit 1; }; sleep 0.2; done
http=$(python3 -c "import json; print(json.load(open('$work/data/run/serve.json'))['http'])")
address=$(python3 -c "import json; print(json.load(open('$work/data/run/serve.json'))['grpc'])")
# A subscriber comes and goes; then the hub has folded, flushed and scored.
timeout 60 "$shiyu" watch risk --address "http://$address" --once >/dev/null
for _ in $(seq 60); do
    curl -s "http://$http/metrics" >"$work/metrics"
    python3 tests/checks/deploy.py "$work/metrics" >"$work/answer" && break
    sleep 0.5
done
cat "$work/answer"
python3 tests/checks/deploy.py "$work/metrics" >/dev/null
kill -TERM $serving
wait $serving
serving=""
