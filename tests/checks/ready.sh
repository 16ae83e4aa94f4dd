#!/usr/bin/env bash
# /readyz turns false while a stage stands still, says which, and turns true again. Told to end at any moment of its start, a hub ends with 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in python3 curl pgrep; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
source tests/clients/serve.sh
serve
expect() {
    # expect STATUS TEXT: what /readyz answers, within 30 s
    for _ in $(seq 100); do
        if [ "$(curl -s -o "$work/answer" -w '%{http_code}' "http://$(address http)/readyz")" = "$1" ] && grep -q "$2" "$work/answer"; then return; fi
        sleep 0.3
    done
    echo "FAILED: /readyz is not $1, \"$2\": $(cat "$work/answer")"
    exit 1
}
expect 200 '^ready$'
worker=$(pgrep -P "$hub")
kill -STOP "$worker"
expect 503 'the SQL worker does not answer'
kill -CONT "$worker"
expect 200 '^ready$'
stop
for moment in 0.2 0.4 0.6 0.8 1.2; do
    "$shiyu" --data-dir "$data" serve --city "$city" --var "CITY_DATA=$work/records" \
        --grpc 127.0.0.1:0 --flight 127.0.0.1:0 --postgres 127.0.0.1:0 --http 127.0.0.1:0 >"$work/serve.log" 2>&1 &
    hub=$!
    sleep "$moment"
    stop
done
echo 'ok: readyz'
