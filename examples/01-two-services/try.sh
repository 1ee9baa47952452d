#!/bin/sh
# Starts the program on free ports, lends books over HTTP, waits until the loans are counted, and
# ends the program: sh examples/01-two-services/try.sh target/debug/example-01-two-services
set -eu
data=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$data"' EXIT
"$1" --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 --data "$data" > "$data/out" &
pid=$!
until url=$(grep -o -m1 'http://127.0.0.1:[0-9]*' "$data/out"); do
    kill -0 "$pid"
    sleep 0.1
done
lend() {
    curl -s -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' \
        -d "{\"book\":\"$1\",\"reader\":\"$2\"}" "$url/loans"
}
[ "$(lend Emma Ada)" = 202 ]
[ "$(lend Emma Eve)" = 409 ]
[ "$(lend Walden Ada)" = 202 ]
until curl -sf "$url/readers/Ada" | grep -qx 2; do sleep 0.1; done
echo "Ada has borrowed 2 books"
kill -TERM "$pid"
wait "$pid"
