#!/bin/sh
# Creates random secrets for compose.yaml. Existing secrets are kept.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
for name in broker store cache admin; do keep "${name}_password" "$(random)"; done
keep broker_url "amqp://wingbeat:$(cat secrets/broker_password)@broker:5672"
keep store_url "postgres://wingbeat:$(cat secrets/store_password)@store:5432/wingbeat"
keep cache_url "redis://:$(cat secrets/cache_password)@cache:6379"
# The containers run as another user, who must be able to read the files.
chmod 644 secrets/*
echo "Administrator: admin@shop.example, password in deploy/secrets/admin_password"
