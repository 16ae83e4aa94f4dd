#!/usr/bin/env bash
# The ways into a guarded Kafka: SASL_SSL with SCRAM, with tokens of a command (OAUTHBEARER), mutual TLS. Each loads the same few records,
# and the tables must say the same; a wrong password, an old token, no certificate and a foreign authority are refused, with the reason.
# Prints one JSON line. Skips loudly without java, mvn, openssl, or where Kafka cannot be started.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in java mvn openssl; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
shiyu="${CARGO_TARGET_DIR:-target}/debug/shiyu"
work=$(mktemp -d)
export KAFKA_LAB="$work/kafka" KAFKA_LAB_TLS="$work/tls" KAFKA_LAB_PORT="${KAFKA_LAB_PORT:-29392}"
trap 'bash tests/kafka/kafka stop; rm -rf "$work"' EXIT
mkdir -p "$KAFKA_LAB_TLS"
tls="$KAFKA_LAB_TLS"

authority() { # name
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$tls/$1.key" -out "$tls/$1.pem" 2>/dev/null
}
certificate() { # name
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$tls/$1.key" -out "$tls/$1.csr" 2>/dev/null
    openssl x509 -req -in "$tls/$1.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 2 \
        -extfile <(echo "subjectAltName=IP:127.0.0.1") -out "$tls/$1.crt" 2>/dev/null
}
authority ca
authority foreign
certificate broker
certificate hub
cat "$tls/broker.key" "$tls/broker.crt" >"$tls/broker.pem"
openssl rand -hex 16 >"$tls/password"
echo wrong >"$tls/wrong-password"
# An unsigned token of 30 seconds, or one that held until an hour ago.
cat >"$tls/token" <<'SH'
text() { printf %s "$1" | openssl base64 -A | tr '+/' '-_' | tr -d =; }
now=$(date +%s)
echo "$(text '{"alg":"none"}').$(text "{\"sub\":\"shiyu\",\"iat\":$((now - 7200)),\"exp\":$((now + ${1:-30}))}")."
echo token >>"$0.count"
SH

bash tests/kafka/kafka start 1 >/dev/null || { echo "skipped: Kafka cannot be started here"; exit 0; }
secure="kafka://127.0.0.1:$((KAFKA_LAB_PORT + 2))" mutual="kafka://127.0.0.1:$((KAFKA_LAB_PORT + 3))"
ours="ca_file=$tls/ca.pem&delivery_timeout_s=20"
scram="$ours&sasl=scram-sha-512&user=shiyu"

"$shiyu" simulate --seed 7 --days 1 --scale 0.05 --out "$work/records" >/dev/null
load() { # name of the data folder, log
    "$shiyu" --data-dir "$work/$1" --output json load --city deploy/cities/yunlan --var CITY_DATA="$work/records" --log "$2" >"$work/$1.balance"
}
says() { # name of the data folder
    "$shiyu" --data-dir "$work/$1" --output csv sql --city deploy/cities/yunlan --var CITY_DATA="$work/records" \
        "SELECT feed, record_id, state, category, counted, cell FROM cases ORDER BY 1, 2"
}
load local local
says local >"$work/local.csv"
passed=()
let_in() { # name, log
    load "$1" "$2" || { echo "FAILED: $1 is not let in"; exit 1; }
    cmp "$work/local.balance" "$work/$1.balance"
    cmp "$work/local.csv" <(says "$1")
    passed+=("$1")
}
refused=()
refuse() { # name, log, what the error must say
    if timeout 120 "$shiyu" --data-dir "$work/$1" load --city deploy/cities/yunlan --var CITY_DATA="$work/records" --log "$2" >/dev/null 2>"$work/$1.error"; then
        echo "FAILED: $1 is let in"; exit 1
    elif [ $? != 69 ] || ! grep -qi -- "$3" "$work/$1.error"; then
        echo "FAILED: $1 is refused otherwise than with 69 and \"$3\":"; cat "$work/$1.error"; exit 1
    fi
    refused+=("$1")
}
let_in scram "$secure/scram?$scram&password_file=$tls/password"
# By a token no topics are made: the error says how to make them, which is done as it says.
by_token="$secure/token?$ours&sasl=oauthbearer&token_command=bash%20$tls/token"
if load untold "$by_token" 2>"$work/untold.error"; then echo "FAILED: topics were made by a token"; exit 1; fi
grep -o 'kafka-topics.sh .*' "$work/untold.error" | sed "s/:$((KAFKA_LAB_PORT + 2)) /:$KAFKA_LAB_PORT /" >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 6 ] || { echo "FAILED: the missing topics are not told:"; cat "$work/untold.error"; exit 1; }
while read -r _ arguments; do
    # shellcheck disable=SC2086
    bash tests/kafka/kafka tool org.apache.kafka.tools.TopicCommand $arguments >/dev/null
done <"$work/commands"
let_in token "$by_token"
let_in certificate "$mutual/certificate?$ours&cert_file=$tls/hub.crt&key_file=$tls/hub.key"
refuse wrong-password "$secure/scram?$scram&password_file=$tls/wrong-password" "authentication"
refuse old-token "$by_token%20-3600" "token expired"
refuse no-certificate "$mutual/certificate?$ours" "ssl\|certificate"
refuse foreign-authority "$secure/scram?ca_file=$tls/foreign.pem&sasl=scram-sha-512&user=shiyu&password_file=$tls/password" "certificate"
words() { printf '"%s",' "$@" | sed 's/,$//'; }
echo "{\"check\":\"kafka-secure\",\"rows\":$(wc -l <"$work/local.csv"),\"let_in\":[$(words "${passed[@]}")],\"refused\":[$(words "${refused[@]}")],\"tokens_asked\":$(wc -l <"$tls/token.count"),\"equal\":true}"
