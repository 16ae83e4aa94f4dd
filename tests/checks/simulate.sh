#!/usr/bin/env bash
# Simulates Yunlan twice and compares the bytes, lets Python check the truth, loads the records, and scores the hub by the truth.
# DAYS and SCALE make it longer: DAYS=90 SCALE=1 bash tests/checks/simulate.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
days="${DAYS:-10}" scale="${SCALE:-0.1}"
shiyu="${SHIYU:-${CARGO_TARGET_DIR:-target}/debug/shiyu}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$shiyu" simulate --seed 7 --days "$days" --scale "$scale" --threads 1 --out "$work/one" >/dev/null
"$shiyu" simulate --seed 7 --days "$days" --scale "$scale" --threads 2 --out "$work/two" >/dev/null
sum() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); }
[ "$(sum "$work/one")" = "$(sum "$work/two")" ] || { echo "FAILED: two runs differ"; exit 1; }
echo "two runs, on one and two threads: the same bytes"

python="${PYTHON:-python3}"
if "$python" -c 'import pyarrow' 2>/dev/null; then
    "$python" tests/checks/simulate.py "$work/one"
else
    echo "skipped: no pyarrow (the Rust test simulate/tests/truth.rs checks the truth as well)"
fi

"$shiyu" --data-dir "$work/hub" load --city deploy/cities/yunlan --var CITY_DATA="$work/one" 2>"$work/load.log" || { cat "$work/load.log"; exit 1; }
"$shiyu" --data-dir "$work/hub" --output csv score-truth --truth "$work/one/truth" >"$work/score.csv"
cat "$work/score.csv"
# The hub must have every record, and none that is not there; how good the rest is, the report says.
grep -E '^records,(hotline|police|grid|petition|device),records that are cases,' "$work/score.csv" | grep -vq ',100.00 %,' && { echo "FAILED: records are missing"; exit 1; }
grep -q '^records,all,cases without a true record,0,' "$work/score.csv" || { echo "FAILED: cases without a record"; exit 1; }
echo "the hub has every record of the truth"
