#!/bin/sh
# Creates the roles of the shop in a new database. The image runs it once.
set -eu
psql --no-psqlrc --quiet -v secrets=/run/secrets -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -f /etc/wingbeat/roles.sql
