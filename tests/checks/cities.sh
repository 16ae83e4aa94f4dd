#!/usr/bin/env bash
# Loads three cities' real records and compares the hub's balance, cases and areas with an independent count (Python, not our code).
set -euo pipefail
cd "$(dirname "$0")/../.."
data="${SHIYU_SHARED_DATA:-../shared/data}"
[ -d "$data" ] || { echo "skipped: no ../shared/data"; exit 0; }
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
shiyu="${CARGO_TARGET_DIR:-target}/debug/shiyu"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# City, folder of its records, level of its areas, attribute with the city's own label of the area.
while read -r name folder level label; do
    folder="$data/$folder"
    "$shiyu" --data-dir "$work/$name" --output json load --city "deploy/cities/$name" --input "$folder" >"$work/$name.balance" 2>"$work/$name.log"
    "$shiyu" --data-dir "$work/$name" --output json sql --city "deploy/cities/$name" \
        "SELECT feed, count(*) AS cases, sum(CASE WHEN counted THEN 1 ELSE 0 END) AS counted, sum(CASE WHEN counted AND cell IS NOT NULL THEN 1 ELSE 0 END) AS located FROM cases GROUP BY feed" >"$work/$name.cases"
    python3 tests/oracle/counts.py --data "$data" --city "$name" --json "$work/$name.expected" >/dev/null
    python3 tests/checks/cities.py "$work/$name.expected" "$work/$name.balance" "$work/$name.cases"
    "$shiyu" --data-dir "$work/$name" --output json sql --city "deploy/cities/$name" \
        "SELECT feed, json_get_str(areas, '$level') AS area, json_get_str(attributes, '$label') AS label, lat IS NOT NULL AS located, count(*) AS events FROM events WHERE outcome = 'accepted' GROUP BY 1, 2, 3, 4" >"$work/$name.areas"
    python3 tests/oracle/areas.py --data "$data" --city "$name" --json "$work/$name.brute_force"
    python3 tests/checks/areas.py "$work/$name.brute_force" "$work/$name.areas"
done <<'CITIES'
chicago chicago community_area community_area
stlouis stl neighbourhood neighborhood
boston boston_311_2015 neighbourhood -
CITIES
