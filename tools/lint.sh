#!/bin/bash
# All linters: tools/lint.sh [DIRECTORY], which holds ruff, mypy and oslo-config-generator.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 0 ] || PATH=$1:$PATH

status=0
check() {
    echo "+ $*"
    "$@" || status=1
}

sources=(nova_hyper tests tools)
[ ! -d benchmarks ] || sources+=(benchmarks)
check ruff check "${sources[@]}"
check ruff format --check "${sources[@]}"
check mypy nova_hyper
MYPYPATH=tools check mypy --strict tools/cloud
if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(git ls-files 2>/dev/null | xargs -r grep -lE '^#!.*\b(ba)?sh\b|^# shellcheck shell=')
    check shellcheck -x "${scripts[@]}"
fi
check tools/samples.sh --check
exit $status
