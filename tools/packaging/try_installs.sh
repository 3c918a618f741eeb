#!/bin/bash
# Install edge_sim in every way of docs/install.md, each from nothing, and print time, disk and steps as a table:
#   sudo bash tools/packaging/try_installs.sh FOLDER WHEEL [UV]
# "Nothing" is a bare Debian 12 made by debootstrap in FOLDER; a way is right when its edge-sim runs the demo. UV is the
# program uv, for the ways with uv. The container is measured by try_container.sh.
set -euo pipefail
folder=$1
wheel=$(realpath "$2")
uv=${3:-}
mkdir -p "$folder"
base=$folder/base
if [ ! -e "$base/made" ]; then
  debootstrap --variant=minbase bookworm "$base" >/dev/null
  cp /etc/resolv.conf "$base/etc/resolv.conf"
  cp "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$base/authorities.pem"
  chroot "$base" apt-get update -qq
  touch "$base/made"
fi
name=$(basename "$wheel")
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"' EXIT

within() {
  chroot "$root" /usr/bin/env -i HOME=/root PATH=/root/.local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive PIP_CERT=/authorities.pem SSL_CERT_FILE=/authorities.pem PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore UV_PYTHON_DOWNLOADS=never "$@"
}

# Run the steps of a way, a line each, and print its row: name, seconds, MB more on the disk, steps.
try() {
  local way=$1 steps=$2 before after started line count=0
  root=$folder/try
  rm -rf "$root"
  cp -a "$base" "$root"
  cp "$wheel" "$root/$name"
  mount -t proc proc "$root/proc"
  mounted=$root/proc
  [ -z "$uv" ] || install -D "$uv" "$root/root/.local/bin/uv"
  before=$(du -sxm "$root" | cut -f1)
  started=$SECONDS
  while IFS= read -r line; do
    [ -n "$line" ] || continue
    count=$((count + 1))
    printf '# %s\n' "$line" >&2
    within sh -ec "$line" </dev/null >>"$folder/transcript" 2>&1 || { tail -n 5 "$folder/transcript" >&2; exit 1; }
  done <<<"$steps"
  after=$(du -sxm "$root" | cut -f1)
  printf '| %s | %s | %s | %s |\n' "$way" "$((SECONDS - started))" "$((after - before))" "$count"
  umount "$mounted"
  mounted=
}

: >"$folder/transcript"
echo "| way | seconds | MB | steps |"
echo "|---|---|---|---|"
try "pip in a virtual environment" "apt-get install -y -qq --no-install-recommends python3-venv
python3 -m venv /opt/edge_sim && /opt/edge_sim/bin/pip install --no-cache-dir '/${name}[web]'
/opt/edge_sim/bin/edge-sim demo"
if [ -n "$uv" ]; then
  try "uv tool" "apt-get install -y -qq --no-install-recommends python3
uv tool install --no-cache '/${name}[web]'
edge-sim demo"
  try "uvx, nothing stays but its cache" "apt-get install -y -qq --no-install-recommends python3
uv tool run --from '/$name' edge-sim demo"
fi
try "pipx" "apt-get install -y -qq --no-install-recommends pipx python3-venv
pipx install '/${name}[web]'
edge-sim demo"
try "service" "apt-get install -y -qq --no-install-recommends python3-venv systemd procps
python3 -m venv /opt/edge_sim && /opt/edge_sim/bin/pip install --no-cache-dir '/${name}[web]'
/opt/edge_sim/bin/edge-sim install-service --no-start
systemd-analyze verify edge_sim.service"
