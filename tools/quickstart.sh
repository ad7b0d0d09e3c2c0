#!/bin/bash
# From a fresh Debian 12 to an OpenStack cloud that runs Docker images as micro-VMs. See --help.
set -euo pipefail

usage() {
    cat <<'END'
Usage: tools/quickstart.sh [OPTION]...

Makes this machine an OpenStack cloud of one node that runs Docker images as
micro-VMs ("pods"), and boots one. It needs a Debian 12, root, about 4 GB of disk
and 4 GB of memory; no systemd, and nothing installed before.

What it does, in this order:
  1. installs Debian packages, and OpenStack into a virtual environment;
  2. builds the guest: a minimal kernel, and the agent that runs in each pod
     (minutes the first time, then under a second);
  3. starts MariaDB, RabbitMQ, Open vSwitch, libvirt, Keystone, Placement, Glance,
     Neutron, Nova and hyperd, all on 127.0.0.1;
  4. makes the network "private", the flavors "hyper.nano" and "hyper.small", and
     the image "busybox";
  5. boots the server "demo", and prints its console and where the time went.

Run it again at any time: it does what is missing, and nothing else. After a
reboot it starts everything again, and the pods that ran.

Options:
  --clouds       offer the cloud to all of this machine: entries "hyper"
                 (administrator) and "hyper-demo" (a user) in
                 /etc/openstack/clouds.yaml, and the commands "openstack" and
                 "hyperctl" in /usr/local/bin
  --no-demo      boot no server
  --down         stop all pods and services and remove bridges, taps and
                 namespaces; data, packages and the guest stay
  --purge        with --down: remove the data too (databases, images, pods, logs)
  --status       list the services, their processes and their logs
  --install      do steps 1 and 2 only
  --home DIR     where everything goes (default: /opt/nova-hyper)
  --driver NAME  "hyper", or "fake": Nova's fake driver, which runs nothing; for
                 work on everything else
  --help         this text

Then, for example:
  openstack --os-cloud hyper server create --image busybox --flavor hyper.nano \
      --network private --wait web
  openstack --os-cloud hyper console log show web
  hyperctl ps

An image of your own ("docker save", "skopeo copy", "buildah push" make such archives):
  openstack --os-cloud hyper image create --container-format docker --disk-format raw \
      --property img_hv_type=docker --property hw_vm_mode=exe --file nginx.tar nginx
END
}

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOME_DIR=/opt/nova-hyper
verb=up
driver=hyper
up=()
down=()
while [ $# -gt 0 ]; do
    case $1 in
        --clouds | --no-demo) up+=("$1") ;;
        --down) verb=down ;;
        --purge) down+=("$1") ;;
        --status) verb=status ;;
        --install) verb=install ;;
        --home | --driver)
            [ $# -gt 1 ] || { echo "$1 needs a value; see --help." >&2; exit 2; }
            if [ "$1" = --home ]; then HOME_DIR=$(realpath -m "$2"); else driver=$2; fi
            shift
            ;;
        --help | -h) usage; exit 0 ;;
        *) echo "There is no option $1; see --help." >&2; exit 2 ;;
    esac
    shift
done
case $driver in hyper | fake) ;; *) echo "--driver is hyper or fake." >&2; exit 2 ;; esac
if [ ${#down[@]} -gt 0 ] && [ $verb != down ]; then
    echo "--purge goes with --down." >&2
    exit 2
fi

# shellcheck source=tools/cloud/bootstrap.sh
. "$REPO/tools/cloud/bootstrap.sh"
require_debian_root

if [ $verb = down ] || [ $verb = status ]; then
    [ -x "$VENV/bin/python" ] || { say "there is no cloud in $HOME_DIR"; exit 0; }
    in_venv cloud --home "$HOME_DIR" --began "$BEGAN" $verb "${down[@]}"
    exit
fi

install_packages "$REPO"/tools/cloud/packages{,-node}.txt
make_import_user
install_venv "$REPO/tools/cloud/requirements.txt"
if [ $verb = install ]; then
    in_venv cloud --home "$HOME_DIR" --began "$BEGAN" guest
else
    in_venv cloud --home "$HOME_DIR" --began "$BEGAN" up --driver "$driver" "${up[@]}"
fi
