#!/bin/bash
# Everything that is checked before a change goes in. See --help.
set -euo pipefail

usage() {
    cat <<'END'
Usage: tools/test.sh [PART]... [PYTEST ARGUMENT]...

Parts; without any, all of them in this order:
  lint        ruff, mypy, shellcheck, and whether the configuration samples are current
  agent       the guest agent's own tests, also under sanitizers
  unit        Python unit tests, among them Nova's conformance suite on our driver
  fuzz        fuzzers of both sides of the agent's protocol and of images, each for
              HYPER_FUZZ_SECONDS (60)
  functional  real pods on a real cloud; brings one up, or uses the one that runs

It needs root on a Debian 12 and installs what is missing, as tools/quickstart.sh
does. What follows the parts goes to pytest:
  tools/test.sh unit -k spec
  tools/test.sh functional tests/functional/test_cloud.py -x

NOVA_HYPER_HOME is where the cloud lives (default: /opt/nova-hyper).
END
}

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOME_DIR=${NOVA_HYPER_HOME:-/opt/nova-hyper}
export NOVA_HYPER_HOME=$HOME_DIR
# Tests without a cloud boot the same guest.
export HYPER_GUEST_DIRECTORY=$HOME_DIR/guest

parts=()
while [ $# -gt 0 ]; do
    case $1 in
        lint | agent | unit | fuzz | functional) parts+=("$1") ;;
        --help | -h) usage; exit 0 ;;
        *) break ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=(lint agent unit fuzz functional)

wants() {
    local part
    for part in "${parts[@]}"; do [ "$part" = "$1" ] && return; done
    return 1
}

# shellcheck source-path=SCRIPTDIR source=cloud/bootstrap.sh
. "$REPO/tools/cloud/bootstrap.sh"
require_debian_root
install_packages "$REPO"/tools/cloud/packages{,-node,-tempest,-test}.txt
make_import_user
install_venv "$REPO/tools/cloud/requirements.txt" "$REPO/test-requirements.txt"
cd "$REPO"

# All parts run, whatever the others say; pytest comes last, and its summary ends the output.
status=0
part() {
    local name=$1
    shift
    say "$name"
    if ! "$@"; then
        [ "$name" = tests ] || say "$name: FAILED"
        status=1
    fi
}

if wants lint; then part lint tools/lint.sh "$VENV/bin"; fi
if wants agent; then part agent make -C guest/agent check check-sanitize; fi
pytest=("$VENV/bin/python" -m pytest --timeout 600)
paths=()
# Unit tests share nothing: on all processors, unless the caller chooses among them.
if wants unit && [ $# -eq 0 ]; then part unit "${pytest[@]}" -q -n auto tests/unit; fi
if wants unit && [ $# -gt 0 ]; then paths+=(tests/unit); fi
if wants fuzz; then paths+=(tests/fuzz); fi
if wants functional; then paths+=(tests/functional); fi
if [ ${#paths[@]} -gt 0 ]; then
    # Paths among the caller's arguments replace ours.
    for argument in "$@"; do
        case $argument in tests/*) paths=() ;; esac
    done
    part tests "${pytest[@]}" "${paths[@]}" "$@"
fi
exit $status
