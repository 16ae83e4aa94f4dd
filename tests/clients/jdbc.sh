#!/bin/sh
# Drives both JDBC drivers that DBeaver loads (Drivers.java).
#
# usage: jdbc.sh FLIGHT_HOST:PORT POSTGRES_HOST:PORT [TOKEN] ['SELECT …']
#
# With a query: prints its rows by both drivers, each line after the driver's name. Skips loudly without java, mvn or the drivers.
set -eu

for tool in java mvn; do
    if ! command -v "$tool" >/dev/null; then
        echo "SKIPPED: $tool is not installed"
        exit 0
    fi
done
folder=$(dirname "$0")
if ! mvn -q -B -f "$folder/pom.xml" compile >/dev/null 2>&1; then
    echo "SKIPPED: mvn cannot fetch the drivers or compile Drivers.java"
    exit 0
fi
mvn -q -B -f "$folder/pom.xml" exec:exec -Dflight="$1" -Dpostgres="$2" -Dtoken="${3:-}" -Dsql="${4:-}" 2>/dev/null
