#!/bin/sh
# Drives the PostgreSQL door with psql: \l \dn \dt \d, a join, transactions.
#
# usage: psql.sh HOST PORT ['SELECT …']
#
# With a query: prints its rows, tab-separated. A token goes into PGPASSWORD (and PGSSLMODE=require). Skips loudly without psql.
set -eu

if ! command -v psql >/dev/null; then
    echo "SKIPPED: psql is not installed"
    exit 0
fi
host=$1
port=$2
run() {
    psql --no-psqlrc --set ON_ERROR_STOP=1 --host "$host" --port "$port" --username analyst --dbname shiyu "$@"
}
expect() {
    # expect WHAT TEXT COMMAND: the command's output holds the text
    if ! printf '%s' "$3" | grep -qF -- "$2"; then
        echo "FAILED: $1 does not show \"$2\":"
        printf '%s\n' "$3"
        exit 1
    fi
}
if [ $# -gt 2 ]; then
    run --tuples-only --no-align --field-separator "$(printf '\t')" --command "$3"
    exit 0
fi
expect '\l' shiyu "$(run --command '\l')"
expect '\dn' core "$(run --command '\dn')"
tables=$(run --command '\dt core.*'; run --command '\dv core.*')
for table in events cases cells scores rejections areas; do
    expect '\dt, \dv' "$table" "$tables"
done
expect '\dt' events "$(run --command '\dt')"
expect '\d' events "$(run --command '\d')"
described=$(run --command '\d events')
expect '\d events' record_id "$described"
expect '\d events' bigint "$described"
joined=$(run --tuples-only --no-align --command \
    'SELECT count(*) FROM cases c JOIN (SELECT DISTINCT feed, record_id FROM events) e USING (feed, record_id)')
case $joined in
'' | *[!0-9]*)
    echo "FAILED: a join gave \"$joined\""
    exit 1
    ;;
esac
expect 'version()' PostgreSQL "$(run --command 'SELECT version()')"
run --quiet --command 'BEGIN' --command 'SAVEPOINT a' --command 'SELECT 1' --command 'ROLLBACK TO a' --command 'COMMIT' >/dev/null
for refused in "COPY (SELECT 1) TO '/tmp/shiyu.csv'" 'CREATE TABLE t (a int)' 'DELETE FROM events' \
    "SET datafusion.execution.batch_size = 1" "SELECT repeat('x', 2000000000)"; do
    if run --command "$refused" >/dev/null 2>&1; then
        echo "FAILED: was not refused: $refused"
        exit 1
    fi
done
echo 'ok: psql'
