#!/bin/sh
# Make the environment of a container: build.sh SOURCE TARGET. The Dockerfile and try_container.sh run it.
set -eu
source=$1
target=$2
versions=$(mktemp)
# The tested versions, without their hashes: the extras differ from those of the lock file.
sed -e '/^ *--hash/d' -e 's/ *\\$//' "$source/.ci/locked.txt" >"$versions"
python3 -m venv "$target"
"$target/bin/pip" install --no-cache-dir --quiet --constraint "$versions" "$source[web,mqtt,metrics]"
site=$(echo "$target"/lib/python3*/site-packages)
# Nothing of this is used on a device: the installer, tests of libraries, accelerators of phones.
"$target/bin/python" -m pip uninstall --quiet --yes setuptools || true
rm -rf "$site"/pip "$site"/pip-* "$target"/bin/pip* "$site"/cv2/data "$site"/ai_edge_litert/vendors \
  "$site"/ai_edge_litert/libLiteRtWebGpuAccelerator.so
find "$site"/numpy -type d -name tests -prune -exec rm -rf {} +
rm -f "$versions"
