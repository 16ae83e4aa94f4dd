#!/usr/bin/env bash
# A Python subscriber, made from our .proto files, is killed and comes back N times (default 20) while records flow: nothing is missing,
# nothing from before a token comes again. Prints one line of JSON.
#
# usage: subscriber.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in python3 curl; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
kills="${1:-${SHIYU_KILLS:-20}}"
python="${XDG_CACHE_HOME:-$HOME/.cache}/shiyu/clients/venv/bin/python"
"$python" -c 'import grpc_tools' 2>/dev/null || { echo "skipped: no grpcio-tools (bash tests/clients/setup)"; exit 0; }
source tests/clients/serve.sh
serve
mkdir "$work/stubs"
"$python" -m grpc_tools.protoc -I schemas/proto --python_out="$work/stubs" --grpc_python_out="$work/stubs" schemas/proto/shiyu/v1/*.proto
"$python" tests/clients/subscriber.py drive --address "$(address grpc)" --stubs "$work/stubs" --journal "$work/journal" --kills "$kills"
stop
