"""What libvirt leaves in Open vSwitch's database of a domain whose interfaces had limits.

It makes records of the tables QoS and Queue (``virNetDevOpenvswitchInterfaceSetQos``)
with the domain's UUID in ``external_ids:vm-id``, and removes them when an
interface is unplugged, but not when a domain ends.
"""

from __future__ import annotations

import logging
import subprocess
from xml.etree import ElementTree as ET

LOG = logging.getLogger(__name__)

_VSCTL = ("ovs-vsctl", "--timeout=10")
_TIMEOUT_S = 15.0


def forget_limits(domain_uuid: str, domain_xml: str) -> None:
    """Remove the records of a domain that has ended, where it has limits at all.

    A failure is logged only: they limit nothing without the interface.
    """
    if not _has_limits(domain_xml):
        return
    # A QoS refers to its queues, so it goes first.
    for table in ("QoS", "Queue"):
        found = _run(
            "--bare", "--columns=_uuid", "find", table, f"external_ids:vm-id={domain_uuid}"
        )
        for row in found.split():
            _run("--if-exists", "destroy", table, row)


def _has_limits(domain_xml: str) -> bool:
    return any(
        interface.find("bandwidth") is not None
        and interface.find("virtualport[@type='openvswitch']") is not None
        for interface in _interfaces(domain_xml)
    )


def _interfaces(domain_xml: str) -> list[ET.Element]:
    root = ET.fromstring(domain_xml)  # noqa: S314 (libvirt's own, or ours)
    return root.findall("devices/interface")


def _run(*arguments: str) -> str:
    try:
        done = subprocess.run(
            (*_VSCTL, *arguments), capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as exc:
        LOG.warning("limits of interfaces stay in Open vSwitch's database: %s", exc)
        return ""
    return done.stdout
