#!/bin/sh
# Run the steps of the Dockerfile in a bare Debian made by debootstrap, where no container engine runs:
#   sudo sh tools/packaging/try_container.sh FOLDER
# Prints the unpacked size, then starts the daemon without root on a read-only file system by bubblewrap.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
root=$1
limit_mb=350
[ -e "$root/usr" ] || debootstrap --variant=minbase bookworm "$root"
cp /etc/resolv.conf "$root/etc/resolv.conf"
# A proxy of this machine may have a certificate of its own.
cp "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root/pip-authorities.pem"
mount -t proc proc "$root/proc" 2>/dev/null || true
trap 'umount "$root/proc" 2>/dev/null || true' EXIT
within() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive PIP_CERT=/pip-authorities.pem "$@"; }
within apt-get update -qq
within apt-get install -y -qq --no-install-recommends python3 python3-venv binutils ca-certificates liblapack3 >/dev/null
rm -rf "$root/source" "$root/opt/edge_sim"
mkdir -p "$root/source/tools/packaging" "$root/source/.ci"
mkdir -p "$root/source/docs"
for part in edge_sim models configs pyproject.toml README.md LICENSE; do cp -r "$here/$part" "$root/source/"; done
cp "$here/docs/third-party.md" "$root/source/docs/"
cp "$here/.ci/locked.txt" "$root/source/.ci/"
cp -r "$here/tools/packaging/container" "$root/source/tools/packaging/"
within sh /source/tools/packaging/container/build.sh /source /opt/edge_sim
cp "$root/source/tools/packaging/container/start.sh" "$root/opt/edge_sim/bin/"
# The second stage: no python3-venv, no binutils, no source; and what the slim image of Debian leaves out.
within apt-get purge -y -qq --auto-remove python3-venv python3.11-venv binutils >/dev/null 2>&1
rm -rf "$root/source" "$root/pip-authorities.pem" "$root/var/lib/apt/lists/"* "$root/var/cache/apt/"* "$root/usr/share/doc" \
  "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/info"
within useradd --system --uid 990 --no-create-home --shell /usr/sbin/nologin edge_sim 2>/dev/null || true
within install -d -o edge_sim -g edge_sim -m 750 /data
umount "$root/proc" 2>/dev/null || true
size=$(du -sxm "$root" | cut -f1)
echo "unpacked: $size MB (at most $limit_mb)"
rm -rf "$root/data/"*
bwrap --ro-bind "$root" / --bind "$root/data" /data --tmpfs /tmp --dev /dev --proc /proc --unshare-ipc \
  --unshare-pid --die-with-parent --clearenv --setenv PATH /opt/edge_sim/bin:/usr/bin:/bin \
  --setenv EDGE_SIM_LISTEN 0.0.0.0:19713 --chdir /data \
  setpriv --reuid=990 --regid=edge_sim --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  timeout --preserve-status --signal=TERM 30 sh /opt/edge_sim/bin/start.sh &
runner=$!
tries=0
until chroot "$root" /usr/bin/python3 -c "import http.client as h; c = h.HTTPConnection('127.0.0.1', 19713, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status == 503)" 2>/dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 25 ] || { echo "it does not answer"; exit 1; }
  sleep 1
done
wait "$runner" && echo "ended well"
[ "$size" -le "$limit_mb" ]
