#!/bin/sh
# Pins all images by digest: writes .env, which compose.yaml reads. Commit the file. Needs docker and
# access to the registries. Run it again to take newer images.
set -eu
cd "$(dirname "$0")"
pin() {
    docker pull --quiet "$2" > /dev/null
    digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$2")
    case "$digest" in
        *@sha256:*) printf '%s=%s\n' "$1" "$digest" ;;
        *) echo "no digest of $2: $digest" >&2; exit 1 ;;
    esac
}
{
    pin BUILD_IMAGE rust:1.95-slim-bookworm
    pin RUNTIME_IMAGE gcr.io/distroless/cc-debian12:nonroot
    pin BROKER_IMAGE rabbitmq:4-management-alpine
    pin STORE_IMAGE postgres:17-alpine
    pin CACHE_IMAGE redis:7-alpine
} > .env.new
mv .env.new .env
