#!/bin/sh
# Start the daemon of a container; the first run makes a configuration and an account for the page.
set -eu
data=${EDGE_SIM_DATA_DIR:-/data}
config=$data/config.yaml
if [ ! -e "$config" ]; then
  edge-sim setup -c "$config" --listen "${EDGE_SIM_LISTEN:-0.0.0.0:9713}" --print-only >/dev/null
fi
if [ ! -e "$data/accounts.json" ]; then
  token=$(python3 -c 'import secrets; print(secrets.token_urlsafe(12))')
  printf '%s\n' "$token" | edge-sim web passwd admin -c "$config" --state-dir "$data" >/dev/null
  echo "first run: log in on port 9713 as admin with the password $token" >&2
  echo "another one: edge-sim web passwd admin -c $config --state-dir $data" >&2
fi
exec edge-sim daemon -c "$config" --state-dir "$data" "$@"
