#!/bin/sh
# Creates the secrets for compose.yaml: passwords, signing keys, and the users of the servers.
# Existing passwords and keys are kept. Needs openssl.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets/trusted
services="carts catalog identity inventory notifications orders payments promotions shipping gateway"
random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }
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
keep store_url_migrate "postgres://migrate:$(cat secrets/store_password_migrate)@store:5432/wingbeat"
cp rabbitmq/definitions.json secrets/broker_definitions
cp redis/users.acl secrets/cache_acl
for name in $services; do
    for server in broker store cache; do keep "${server}_password_$name" "$(random)"; done
    keep "broker_url_$name" "amqp://$name:$(cat "secrets/broker_password_$name")@broker:5672"
    keep "store_url_$name" "postgres://$name:$(cat "secrets/store_password_$name")@store:5432/wingbeat"
    keep "cache_url_$name" "redis://$name:$(cat "secrets/cache_password_$name")@cache:6379"
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
