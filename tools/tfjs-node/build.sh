#!/usr/bin/env bash
# Builds @tensorflow/tfjs-node against the TensorFlow of a Python wheel, without its install script, which would download
# libtensorflow. See README.md. Prints the main file of the package it built.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
build="${PEFTJS_TFJS_NODE_BUILD:-$here/build}"
version="$(node -p "require('$root/packages/core/node_modules/@tensorflow/tfjs-core/package.json').version")"
mkdir -p "$build"

say() { echo "tfjs-node: $*" >&2; }
fail() { say "$*"; exit 1; }

# TensorFlow, from the given interpreter or from a virtual environment of our own. pip reads its usual settings.
python="${PEFTJS_TENSORFLOW_PYTHON:-$build/venv/bin/python}"
if [ ! -x "$python" ] && ! command -v "$python" >/dev/null; then
  say "installing tensorflow-cpu"
  python3 -m venv "$build/venv"
  # The libraries and headers alone: none of the Python dependencies is loaded.
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps tensorflow-cpu >&2
fi
tensorflow="$("$python" -c 'import importlib.util as u; print(u.find_spec("tensorflow").submodule_search_locations[0])')" ||
  fail "$python has no tensorflow. Install tensorflow-cpu there, or leave PEFTJS_TENSORFLOW_PYTHON unset."

# The sources. TensorFlow.js itself is the checkout's copy: a second one would have kernels and gradients of its own.
package="$build/node_modules/@tensorflow/tfjs-node"
if [ ! -d "$package" ]; then
  say "fetching @tensorflow/tfjs-node $version"
  echo '{ "private": true }' >"$build/package.json"
  npm install --prefix "$build" --ignore-scripts --no-audit --no-fund --loglevel error "@tensorflow/tfjs-node@$version" >&2
fi
for name in tfjs-core tfjs-layers tfjs-backend-cpu; do
  rm -rf "$build/node_modules/@tensorflow/$name"
  ln -s "$(realpath "$root/packages/core/node_modules/@tensorflow/$name")" "$build/node_modules/@tensorflow/$name"
done

# Node's headers lie beside its binary; distributions that split them off name the place with npm's setting `nodedir`.
headers="${PEFTJS_NODE_HEADERS:-$(dirname "$(dirname "$(realpath "$(command -v node)")")")/include/node}"
[ -f "$headers/node_api.h" ] || fail "no node_api.h in $headers. Set PEFTJS_NODE_HEADERS to the folder that holds Node's headers."

mkdir -p "$package/deps/lib" "$package/lib/napi-v8"
ln -sfn "$tensorflow/include" "$package/deps/include"
for name in cc framework; do
  ln -sf "$tensorflow/libtensorflow_$name.so.2" "$package/deps/lib/"
done

say "compiling the binding"
"${CXX:-g++}" -std=c++17 -O2 -fPIC -shared -DNAPI_VERSION=8 \
  -I"$headers" -I"$package/deps/include" \
  "$package"/binding/tfjs_backend.cc "$package"/binding/tfjs_binding.cc \
  -L"$package/deps/lib" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 -Wl,-rpath,'$ORIGIN/../../deps/lib' \
  -o "$package/lib/napi-v8/tfjs_binding.node"

main="$package/dist/index.js"
product="$(TF_CPP_MIN_LOG_LEVEL=2 node -p "require('$main').matMul([[1, 2]], [[3], [4]]).dataSync()[0]")"
[ "$product" = 11 ] || fail "the built package computes 1·3 + 2·4 = $product"
echo "$main"
