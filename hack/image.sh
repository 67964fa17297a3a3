#!/usr/bin/env bash
# Builds the container image from bin/o2ims with buildah: no daemon, no network, no base
# image. The result is dist/o2ims-image.tar, an OCI archive. Usage: hack/image.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-dev}
hack/debian.sh buildah pci.ids ca-certificates

rm -rf dist/image
install -D -m 755 bin/o2ims dist/image/o2ims
install -D -m 644 /usr/share/misc/pci.ids dist/image/usr/share/misc/pci.ids
install -D -m 644 /etc/ssl/certs/ca-certificates.crt dist/image/etc/ssl/certs/ca-certificates.crt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# buildah wants a policy about which images to trust; nothing is pulled, so any will do.
echo '{"default":[{"type":"reject"}],"transports":{"containers-storage":{"":[{"type":"insecureAcceptAnything"}]}}}' >"$work/policy.json"

store=(--root "$work/root" --runroot "$work/run" --storage-driver vfs)
buildah "${store[@]}" bud --isolation chroot --signature-policy "$work/policy.json" \
	--target prebuilt --label "org.opencontainers.image.version=$version" --tag "o2ims:$version" . >"$work/log" 2>&1 ||
	{ cat "$work/log" >&2; exit 1; }
rm -f dist/o2ims-image.tar
buildah "${store[@]}" push --signature-policy "$work/policy.json" "o2ims:$version" "oci-archive:dist/o2ims-image.tar:o2ims:$version" >"$work/log" 2>&1 ||
	{ cat "$work/log" >&2; exit 1; }
echo "built dist/o2ims-image.tar (o2ims:$version, $(du -h dist/o2ims-image.tar | cut -f1))"
