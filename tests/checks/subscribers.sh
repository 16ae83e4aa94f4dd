#!/usr/bin/env bash
# 100 subscribers, 10 of them 100 times too slow and 5 stopped: what they cost the hub's memory and the others' delay, and whether anything
# is missing or repeated when they come back. Prints one line of JSON.
#
# usage: subscribers.sh [ROUNDS [SECONDS]]     default 1 round of phases of 5 s; the long form is: subscribers.sh 4 20
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in python3 curl; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
cargo build --locked --quiet --example lab-subscribers
source tests/clients/serve.sh
serve
"${CARGO_TARGET_DIR:-target}/debug/examples/lab-subscribers" --address "$(address grpc)" --pid "$hub" --rounds "${1:-1}" --seconds "${2:-5}"
stop
