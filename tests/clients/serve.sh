# Sourced by checks: the small invented city, loaded and served at free ports, and stopped at the end whatever happens.
#
#   need_python MODULE…   ends with a loud skip where a tool or a module is missing (`bash tests/clients/setup` installs them)
#   stubs       makes Python stubs of our .proto files in $work/stubs
#   serve OPTION…   writes the records, loads them, starts `shiyu serve`, both with these options, waits until it answers
#   address X   where door X is: grpc, flight, postgres, http
#   stop        ends it as a user would, and fails if it does not end well or told of an error

shiyu="${SHIYU:-${CARGO_TARGET_DIR:-target}/debug/shiyu}"
python="${XDG_CACHE_HOME:-$HOME/.cache}/shiyu/clients/venv/bin/python"
city=tests/clients/city
work=$(mktemp -d)
data="$work/data"
hub=

trap 'status=$?; [ -z "$hub" ] || kill -KILL "$hub" 2>/dev/null || true; [ "$status" = 0 ] || tail -n 20 "$work"/*.log 2>/dev/null; rm -rf "$work"; exit "$status"' EXIT

need_python() {
    for tool in python3 curl; do
        command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
    done
    for module in "$@"; do
        "$python" -c "import $module" 2>/dev/null || { echo "skipped: no $module (bash tests/clients/setup)"; exit 0; }
    done
}

stubs() {
    mkdir "$work/stubs"
    "$python" -m grpc_tools.protoc -I schemas/proto --python_out="$work/stubs" --grpc_python_out="$work/stubs" schemas/proto/shiyu/v1/*.proto
}

address() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$data/run/serve.json" "$1"
}

serve() {
    python3 tests/clients/records.py "$work/records"
    "$shiyu" --data-dir "$data" load --city "$city" --var "CITY_DATA=$work/records" "$@" >"$work/load.log" 2>&1
    "$shiyu" --data-dir "$data" serve --city "$city" --var "CITY_DATA=$work/records" "$@" \
        --grpc 127.0.0.1:0 --flight 127.0.0.1:0 --postgres 127.0.0.1:0 --http 127.0.0.1:0 >"$work/serve.log" 2>&1 &
    hub=$!
    for _ in $(seq 600); do
        if [ -s "$data/run/serve.json" ] && [ "$(curl -s "http://$(address http)/readyz" || true)" = ready ]; then return; fi
        kill -0 "$hub" 2>/dev/null || { echo "FAILED: serve ended"; exit 1; }
        sleep 0.1
    done
    echo "FAILED: serve is not ready: $(curl -s "http://$(address http)/readyz")"
    exit 1
}

stop() {
    kill -TERM "$hub"
    wait "$hub" || { echo "FAILED: serve ended with $?"; exit 1; }
    hub=
    if grep -E ' (ERROR|WARN) ' "$work/serve.log"; then
        echo "FAILED: serve told of errors or warnings"
        exit 1
    fi
}
