#!/usr/bin/env bash
# The fault lab. Short form (about two minutes): crash points of the log, kills, and what this machine allows of power cuts and full disks.
# Long form: tests/checks/lab.sh long, or one experiment: tests/checks/lab.sh kill --times 200 --rate 20000 --alive 1.5
# SHIYU names another program for what needs no failpoints, e.g. an optimised one.
set -euo pipefail
cd "$(dirname "$0")/../.."
target="${CARGO_TARGET_DIR:-target}"
python="${PYTHON:-python3}"
command -v "$python" >/dev/null || { echo "skipped: fault lab: no python3"; exit 0; }
"$python" -c 'import pyarrow, numpy' 2>/dev/null || { echo "skipped: fault lab: pip install pyarrow numpy"; exit 0; }

test_binary() {
    cargo test --locked --quiet -p shiyu -p shiyu-log --lib --no-run --message-format=json "$@" |
        "$python" -c 'import json, sys; print([line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")][-1])'
}

case "${1:-short}" in
long | points | bugs | errors)
    # Our own crates once more with the failpoints in, copied away; the dependencies are the same.
    mkdir -p "$target/lab"
    cargo build --locked --quiet --features fault-injection --bin shiyu
    cp "$target/debug/shiyu" "$target/lab/shiyu-faults"
    log_tests=$(test_binary --features fault-injection)
    ;;
*) log_tests=$(test_binary) ;;
esac
cargo build --locked --quiet --bin shiyu --example lab-generator

run() {
    local experiment="$1"
    shift
    "$python" tests/lab/lab.py "$experiment" --generator "$target/debug/examples/lab-generator" --log-tests "$log_tests" "$@"
}
plain=(--binary "${SHIYU:-$target/debug/shiyu}")
faulted=(--binary "$target/lab/shiyu-faults")

case "${1:-short}" in
short)
    "$log_tests" crash_points --nocapture | grep '^{'
    run kill "${plain[@]}" --times 8 --alive 2
    run power "${plain[@]}" --times 2 --alive 2
    run full "${plain[@]}" --times 2 --alive 2
    ;;
long)
    SHIYU_CRASH_STEPS=700 "$log_tests" crash_points --nocapture | grep '^{'
    run kill "${plain[@]}" --times 200 --rate 20000
    run points "${faulted[@]}"
    run bugs "${faulted[@]}"
    run power "${plain[@]}" --times 30
    run full "${plain[@]}" --times 50
    run errors "${faulted[@]}" --times 50
    ;;
points | bugs | errors)
    experiment="$1"
    shift
    run "$experiment" "${faulted[@]}" "$@"
    ;;
*)
    experiment="$1"
    shift
    run "$experiment" "${plain[@]}" "$@"
    ;;
esac
