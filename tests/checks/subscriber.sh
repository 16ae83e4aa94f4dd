#!/usr/bin/env bash
# A Python subscriber, made from our .proto files, is killed and comes back N times (default 20) while records flow: nothing is missing,
# nothing from before a token comes again. Prints one line of JSON.
#
# usage: subscriber.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")/../.."
kills="${1:-${SHIYU_KILLS:-20}}"
source tests/clients/serve.sh
need_python grpc_tools
serve
stubs
"$python" tests/clients/subscriber.py drive --address "$(address grpc)" --stubs "$work/stubs" --journal "$work/journal" --kills "$kills"
stop
