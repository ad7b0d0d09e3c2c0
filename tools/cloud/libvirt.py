"""libvirt: the machine's own if it runs, else daemons of ours on the default paths."""

from __future__ import annotations

import grp
import os
from contextlib import suppress
from pathlib import Path

from cloud import answers, command, service
from cloud.service import Service
from cloud.site import Site

URI = "qemu:///system"


def definitions() -> tuple[Service, Service]:
    """Return the services of the log daemon and of libvirtd."""
    return (
        Service(
            "virtlogd",
            ("/usr/sbin/virtlogd", "--pid-file=/run/virtlogd.pid"),
        ),
        Service(
            "libvirtd",
            ("/usr/sbin/libvirtd", "--pid-file=/run/libvirtd.pid"),
            ready=answers.succeeds("virsh", "-c", URI, "version"),
        ),
    )


def bring_up(site: Site) -> None:
    """Start libvirt unless the machine's own answers."""
    ours = any(service.running_pid(site, d.name) is not None for d in definitions())
    if ours or not answers.succeeds("virsh", "-c", URI, "version")():
        _give_kvm_to_its_group()
        service.bring_up(site, *definitions())


def take_down(site: Site) -> None:
    """Stop what was started."""
    service.stop(site, "libvirtd")
    service.stop(site, "virtlogd")


def _give_kvm_to_its_group() -> None:
    """Do for ``/dev/kvm`` what udev does, where no udev runs.

    QEMU's user is in that group.  When it cannot open the device, libvirt
    distrusts what it knows of QEMU, and asks it anew at each start of a domain:
    more than ten seconds.
    """
    device = Path("/dev/kvm")
    if not device.exists() or Path("/run/udev/control").exists():
        return
    with suppress(KeyError):
        os.chown(device, -1, grp.getgrnam("kvm").gr_gid)
        device.chmod(0o660)


def domains() -> list[str]:
    """Return the names of all domains, or none where libvirt does not answer."""
    listed = command.output(("virsh", "-c", URI, "list", "--all", "--name"))
    return (listed or "").split()
