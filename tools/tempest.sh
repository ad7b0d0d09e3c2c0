#!/bin/bash
# OpenStack's own tests against the cloud of the quick start. See --help.
set -euo pipefail

usage() {
    cat <<'END'
Usage: tools/tempest.sh [OPTION]... [REGEX]...

Runs Tempest, OpenStack's own tests, against the cloud of tools/quickstart.sh. With
it, Tempest logs in to pods by ssh: their image has an ssh server, and for the time of
the run this machine has a port ("hyper-host") on the network "private".

It needs root on a Debian 12, installs what is missing, and brings the cloud up if it
is not. Without REGEX it runs the tests of servers, images and administration of the
compute API, and the scenarios with one server: some hundred tests, one after the
other. A REGEX is looked for anywhere in the name of a test:
  tools/tempest.sh test_server_basic_ops
  tools/tempest.sh 'servers.test_server_actions.*(pause|suspend)' test_delete_server

At the end it says how many tests ran, passed, failed and were skipped, and why. All
that Tempest wrote is kept in /opt/nova-hyper/tempest, in a directory for each run:
summary.txt, output.txt, tempest.conf, tempest.log (with each request), and the
results as a stestr repository ("stestr last" in that directory).
The exit status is Tempest's: 0 when nothing failed. An interrupted run leaves servers
and projects in the cloud, whose names begin with "tempest".

What Tempest is to expect of pods is in tools/cloud/templates/tempest.conf; tests that
cannot apply to pods are in tools/cloud/tempest-exclude.txt, with the reason for each.

Options:
  --list   say which tests would run
  --help   this text

NOVA_HYPER_HOME is where the cloud lives (default: /opt/nova-hyper).
END
}

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOME_DIR=${NOVA_HYPER_HOME:-/opt/nova-hyper}

options=()
while [ $# -gt 0 ]; do
    case $1 in
        --list) options+=("$1") ;;
        --help | -h) usage; exit 0 ;;
        --) shift; break ;;
        -*) echo "There is no option $1; see --help." >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done

# shellcheck source-path=SCRIPTDIR source=cloud/bootstrap.sh
. "$REPO/tools/cloud/bootstrap.sh"
require_debian_root
install_packages "$REPO"/tools/cloud/packages{,-node,-tempest}.txt
make_import_user
install_venv "$REPO"/tools/cloud/requirements{,-tempest}.txt
# Spaces separate regular expressions.
in_venv cloud --home "$HOME_DIR" --began "$BEGAN" tempest "${options[@]}" -- "$*"
