#!/bin/sh
# Make the environment of a container: build.sh SOURCE TARGET. The Dockerfile and try_container.sh run it.
# It leaves out what no device uses, and ends with an error where the model does not run afterwards.
set -eu
source=$1
target=$2
versions=$(mktemp)
# The tested versions, without their hashes: the extras differ from those of the lock file.
sed -e '/^ *--hash/d' -e 's/ *\\$//' "$source/.ci/locked.txt" >"$versions"
python3 -m venv "$target"
"$target/bin/pip" install --no-cache-dir --quiet --constraint "$versions" "${source}[web,mqtt,metrics]"
rm -f "$versions"
site=$(echo "$target"/lib/python3*/site-packages)
# The installer; compilers for accelerators of phones, and the interface to what they compile; sample data.
"$target/bin/python" -m pip uninstall --quiet --yes setuptools || true
rm -rf "$site"/pip "$site"/pip-* "$target"/bin/pip* "$site"/cv2/data "$site"/ai_edge_litert/vendors \
  "$site"/ai_edge_litert/libLiteRtWebGpuAccelerator.so "$site"/ai_edge_litert/libLiteRt.so \
  "$site"/ai_edge_litert/tools/apply_plugin_main "$site"/ai_edge_litert/aot
# Of numpy: tests, compilers of extensions, and what such a compiler needs.
find "$site"/numpy -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
rm -rf "$site"/numpy/distutils "$site"/numpy/f2py "$site"/numpy/doc
find "$site" \( -name '*.pyi' -o -name '*.a' \) -delete
# OpenCV brings an OpenBLAS of 39 MB, of which it needs 19 functions of linear algebra, and edge_sim none: those of
# Debian (liblapack3, of the final stage) have the same names.
lapack=$(find /usr/lib -name liblapack.so.3 | head -n 1)
if [ -n "$lapack" ]; then
  for own in "$site"/opencv_python_headless.libs/libopenblas*.so*; do ln -sf "$lapack" "$own"; done
  rm -f "$site"/opencv_python_headless.libs/libgfortran* "$site"/opencv_python_headless.libs/libquadmath*
fi
# Names of functions, which only a debugger reads.
if command -v strip >/dev/null; then
  strip --strip-unneeded "$site"/ai_edge_litert/libpywrap_litert_common.so "$site"/yaml/*.so \
    "$site"/opencv_python_headless.libs/libpng* "$site"/opencv_python_headless.libs/libaom*
fi
# Nothing that is used was taken away: the model, decoding, the page, the broker.
"$target/bin/python" -c 'import cv2, numpy; assert cv2.solve(numpy.eye(3) * 2, numpy.ones((3, 1)))[1].sum() == 1.5'
"$target/bin/python" -c 'import paho.mqtt.client, prometheus_client, edge_sim.web.server'
"$target/bin/edge-sim" demo --frames 60 >/dev/null
