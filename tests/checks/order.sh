#!/usr/bin/env bash
# The same status changes in many arrival orders: identical tables, equal to a batch recompute in DuckDB. Prints one JSON line.
#
# usage: order.sh [ARRIVALS [ORDERS]]     default 3 arrivals of 1,000 orders; the long form is: order.sh 100 10000
# The machine's clock is moved by up to a day between arrivals (a preloaded clock_gettime; without a C compiler it is not moved).
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
venv="${XDG_CACHE_HOME:-$HOME/.cache}/shiyu/checks"
if ! "$venv/bin/python" -c 'import duckdb, h3, numpy' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet duckdb h3 numpy || { echo "skipped: no duckdb or h3 for Python"; exit 0; }
fi
shiyu="$(realpath "${CARGO_TARGET_DIR:-target}/debug/shiyu")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clock=""
if command -v cc >/dev/null && cc -shared -fPIC -O1 -o "$work/clock.so" tests/checks/clock.c; then
    clock="$work/clock.so"
fi
"$venv/bin/python" tests/checks/order.py --shiyu "$shiyu" --work "$work" --clock "$clock" --arrivals "${1:-3}" --orders "${2:-1000}"
