#!/bin/sh
# Drives the PostgreSQL door with psql: \l \dn \dt \d \d+ \dp \df \du and what lists nothing here, a join, transactions, refusals.
#
# usage: psql.sh HOST:PORT
#
# Skips loudly without psql.
set -eu

if ! command -v psql >/dev/null; then
    echo "skipped: no psql"
    exit 0
fi
host=${1%:*}
port=${1##*:}
run() {
    psql --no-psqlrc --set ON_ERROR_STOP=1 --host "$host" --port "$port" --username analyst --dbname shiyu "$@"
}
# show COMMAND TEXT…: psql's command works, and its output holds the texts
show() {
    command=$1
    shift
    if ! output=$(run --command "$command" 2>&1); then
        printf 'FAILED: %s:\n%s\n' "$command" "$output"
        exit 1
    fi
    for text in "$@"; do
        if ! printf '%s' "$output" | grep -qF -- "$text"; then
            printf 'FAILED: %s does not show "%s":\n%s\n' "$command" "$text" "$output"
            exit 1
        fi
    done
}
show '\l' shiyu
show '\l+' shiyu
show '\dn' core
show '\dn+' core
show '\dt' events scores rejections areas feeds categories epochs
show '\dv' cases cells withdrawals
show '\d' events cases
show '\dt+ core.*' events 'every checked version of every record, immutable'
show '\dv+' cases 'every case as it stands now'
show '\d events' record_id text bigint 'timestamp with time zone' 'not null'
show '\d+ events' record_id Storage Description 'H3 cell, resolution 11' "the department's stream"
show '\d cases' record_id state
show '\d+ cases' record_id Description 'state of the case'
show '\d+ scores' cell score Description '0 to 100'
for table in withdrawals cells rejections areas feeds categories epochs; do
    show "\\d $table" Column
    show "\\d+ $table" Column Description
done
show '\di' 'Did not find any relations'
show '\ds' 'Did not find any relations'
show '\df' 'Result data type'
show '\du' 'Role name'
show '\dp' 'Access privileges' events cases Policies
show '\dp events' events 'Column privileges'
show '\do' '(0 rows)'
show '\dL' Trusted '(0 rows)'
show '\dO' Collate '(0 rows)'
show '\dd' Object '(0 rows)'
show '\dD' Check '(0 rows)'
show '\dy' Event '(0 rows)'
show '\dX' Ndistinct '(0 rows)'
for command in '\dF' '\dFp' '\dFd' '\dFt'; do show "$command" Description '(0 rows)'; done
show '\dconfig' Parameter '(0 rows)'
show '\drds'
show '\ddp' Owner '(0 rows)'
show '\df+' 'Source code' '(0 rows)'
show '\dT+' Elements '(0 rows)'
show '\dc' Destination '(0 rows)'
show '\deu' 'User name' '(0 rows)'
show '\dAc' 'Operator class' '(0 rows)'
show '\conninfo' shiyu
show 'SELECT version()' PostgreSQL
joined=$(run --tuples-only --no-align --command \
    'SELECT count(*) FROM cases c JOIN (SELECT DISTINCT feed, record_id FROM events) e USING (feed, record_id)')
counted=$(run --tuples-only --no-align --command 'SELECT count(*) FROM cases')
if [ "$joined" != "$counted" ] || [ "$joined" = 0 ]; then
    echo "FAILED: a join gave \"$joined\" rows, there are \"$counted\" cases"
    exit 1
fi
run --quiet --command 'BEGIN' --command 'SAVEPOINT a' --command 'SELECT 1' --command 'ROLLBACK TO a' --command 'COMMIT' >/dev/null
for refused in "COPY (SELECT 1) TO '/tmp/shiyu.csv'" 'CREATE TABLE t (a int)' 'DELETE FROM events' \
    "SET datafusion.execution.batch_size = 1" "SELECT repeat('x', 2000000000)"; do
    if run --command "$refused" >/dev/null 2>&1; then
        echo "FAILED: was not refused: $refused"
        exit 1
    fi
done
echo 'ok: psql'
