#!/bin/sh
# Creates the secrets for compose.yaml: passwords, signing keys, and the users of the servers.
# Existing passwords and keys are kept. Needs openssl. BROKER_ADDRESS, STORE_ADDRESS and
# CACHE_ADDRESS name other servers, such as BROKER_ADDRESS=amqps://rabbitmq.example.com:5671.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets/trusted
services="carts catalog identity inventory notifications orders payments promotions shipping gateway"
random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }
broker=${BROKER_ADDRESS:-amqp://broker:5672}
store=${STORE_ADDRESS:-postgres://store:5432/wingbeat}
cache=${CACHE_ADDRESS:-redis://cache:6379}
# The URL of a server for a user.
url() { printf '%s://%s:%s@%s' "${1%%://*}" "$2" "$(cat "secrets/$3")" "${1#*://}"; }
keep() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
# RabbitMQ stores base64(salt + SHA-256(salt + password)).
broker_hash() {
    head -c 4 /dev/urandom > secrets/salt
    { cat secrets/salt; { cat secrets/salt; cat "secrets/$1"; } | openssl dgst -sha256 -binary; } | openssl base64 -A
    rm secrets/salt
}

keep admin_password "$(random)"
keep store_password "$(random)"
keep store_password_migrate "$(random)"
keep store_url_migrate "$(url "$store" migrate store_password_migrate)"
cp rabbitmq/definitions.json secrets/broker_definitions
cp redis/users.acl secrets/cache_acl
for name in $services; do
    for server in broker store cache; do keep "${server}_password_$name" "$(random)"; done
    keep "broker_url_$name" "$(url "$broker" "$name" "broker_password_$name")"
    keep "store_url_$name" "$(url "$store" "$name" "store_password_$name")"
    keep "cache_url_$name" "$(url "$cache" "$name" "cache_password_$name")"
    [ -s "secrets/signing_key_$name" ] || openssl genpkey -algorithm ed25519 -out "secrets/signing_key_$name"
    openssl pkey -in "secrets/signing_key_$name" -pubout -out "secrets/trusted/$name.pub"
    hash=$(broker_hash "broker_password_$name")
    sed "s|@$name@|$hash|" secrets/broker_definitions > secrets/new && mv secrets/new secrets/broker_definitions
    hash=$(openssl dgst -sha256 -r "secrets/cache_password_$name" | cut -d ' ' -f 1)
    sed "s|@$name@|$hash|" secrets/cache_acl > secrets/new && mv secrets/new secrets/cache_acl
done
# The containers run as other users, who must be able to read the files.
chmod 700 secrets
chmod 755 secrets/trusted
chmod 644 secrets/*_* secrets/trusted/*
echo "Administrator: admin@shop.example, password in deploy/secrets/admin_password"
