#!/usr/bin/env bash
# Other people's clients against a running hub: psql, ADBC, both JDBC drivers, `shiyu sql`, and Polars over the Delta tables. Each asks
# for what it asks for when somebody uses it, and all must see the same rows. A client that is not installed is skipped loudly
# (`bash tests/clients/setup` installs them).
set -euo pipefail
cd "$(dirname "$0")/../.."
jars="${XDG_CACHE_HOME:-$HOME/.cache}/shiyu/clients/jars"
source tests/clients/serve.sh
need_python
serve
bash tests/clients/psql.sh "$(address postgres)"
if [ -d "$jars" ] && command -v java >/dev/null; then
    java -Duser.timezone=UTC --add-opens=java.base/java.nio=ALL-UNNAMED -cp "$jars/*" tests/clients/Drivers.java \
        check "$(address flight)" "$(address postgres)" 2>"$work/java.log"
else
    echo "skipped: no JDBC drivers"
    jars=
fi
if "$python" -c 'import adbc_driver_flightsql, polars' 2>/dev/null; then
    "$python" tests/clients/flight_sql.py "$(address flight)"
    "$python" tests/clients/slt.py --flight "$(address flight)" --postgres "$(address postgres)" tests/sql/*.slt
    "$python" tests/clients/same_rows.py --data-dir "$data" --city "$city" --shiyu "$shiyu" ${jars:+--jars "$jars"}
else
    echo "skipped: no adbc_driver_flightsql, polars"
fi
stop
