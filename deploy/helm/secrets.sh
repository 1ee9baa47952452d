#!/bin/sh
# Prints the Secrets and the ConfigMap that the chart needs, from the files of deploy/secrets.sh.
# The argument is the name of the release:
#   sh deploy/helm/secrets.sh shop | kubectl -n shop apply -f -
set -eu
release=${1:?the name of the release}
kubectl=${KUBECTL:-kubectl}
cd "$(dirname "$0")/../secrets"
make() {
    "$kubectl" create "$@" --dry-run=client --output=yaml
    echo ---
}
for key in signing_key_*; do
    name=${key#signing_key_}
    set -- --from-file=signing_key="$key"
    for server in broker store cache; do
        set -- "$@" --from-file="${server}_url=${server}_url_$name"
    done
    if [ "$name" = identity ]; then set -- "$@" --from-file=admin_password; fi
    if [ "$name" = notifications ] && [ -s smtp_url ]; then set -- "$@" --from-file=smtp_url; fi
    make secret generic "$release-$name" "$@"
done
make secret generic "$release-migrate" --from-file=store_url=store_url_migrate
make configmap "$release-trusted" --from-file=trusted
