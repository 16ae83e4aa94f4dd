#!/usr/bin/env bash
# What is pushed is in the next query's tables: not once their files hold it, but at once. Prints one line of JSON.
#
# usage: fresh.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/clients/serve.sh
need_python grpc_tools adbc_driver_flightsql
serve
stubs
"$python" tests/clients/fresh.py --grpc "$(address grpc)" --flight "$(address flight)" --stubs "$work/stubs" --rounds "${1:-20}"
stop
