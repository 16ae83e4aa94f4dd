#!/usr/bin/env bash
# What is pushed is in the next query's tables: not once their files hold it, but at once. Prints one line of JSON.
#
# usage: fresh.sh [ROUNDS [OPTION…]], e.g. fresh.sh 20 --log kafka://…
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/clients/serve.sh
need_python grpc_tools adbc_driver_flightsql
rounds="${1:-20}"
serve "${@:2}"
stubs
"$python" tests/clients/fresh.py --grpc "$(address grpc)" --flight "$(address flight)" --stubs "$work/stubs" --rounds "$rounds"
stop
