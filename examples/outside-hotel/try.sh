#!/bin/sh
# Starts the program on free ports, books a room, pays as soon as `billing` has handled the booking,
# and ends the program: sh try.sh target/debug/outside-hotel
set -eu
data=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$data"' EXIT
"$1" --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 --data "$data" > "$data/out" &
pid=$!
until url=$(grep -o -m1 'http://127.0.0.1:[0-9]*' "$data/out"); do
    kill -0 "$pid"
    sleep 0.1
done
book() {
    curl -s -X POST -H "Idempotency-Key: $1" "$url/rooms/12/bookings"
}
booking=$(book ada | grep -o '"booking":"[^"]*"')
[ "$(book ada | grep -o '"booking":"[^"]*"')" = "$booking" ]
book eve | grep -q room_taken
until curl -sf -o /dev/null -H 'Content-Type: application/json' -d "{$booking}" "$url/payments"; do
    kill -0 "$pid"
    sleep 0.1
done
echo "the room is booked and paid for"
kill -TERM "$pid"
wait "$pid"
