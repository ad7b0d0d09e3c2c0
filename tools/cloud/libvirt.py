"""libvirt: the machine's own if it runs, else daemons of ours on the default paths."""

from __future__ import annotations

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
        service.bring_up(site, *definitions())


def take_down(site: Site) -> None:
    """Stop what was started."""
    service.stop(site, "libvirtd")
    service.stop(site, "virtlogd")


def domains() -> list[str]:
    """Return the names of all domains, or none where libvirt does not answer."""
    listed = command.output(("virsh", "-c", URI, "list", "--all", "--name"))
    return (listed or "").split()
