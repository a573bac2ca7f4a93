#!/usr/bin/env bash
# Runs the tests that compare engines with tfjs-node as the eager one.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
PEFTJS_TFJS_NODE="${PEFTJS_TFJS_NODE:-$("$here/build.sh")}"
export PEFTJS_TFJS_NODE PEFTJS_EAGER_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=2

status=0
(cd "$root/packages/engine" && npx vitest run test) || status=1
(cd "$root/packages/models" && npx vitest run test/engines.test.ts) || status=1
exit "$status"
