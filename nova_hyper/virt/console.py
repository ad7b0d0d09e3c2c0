"""The consoles of an instance: what its containers wrote, and one to type into."""

from __future__ import annotations

import ipaddress
from typing import Any

from nova import exception as nova_exception
from nova.console import type as console_type
from oslo_log import log as logging

from nova_hyper.client import Hyperd
from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.errors import Conflict, PortsExhausted
from nova_hyper.virt import errors, flavor, image_properties

LOG = logging.getLogger(__name__)

# As much as the libvirt driver returns; nova-compute cuts it to the lines asked for.
MAX_BYTES = 100 * 1024


def output(hyperd: Hyperd, instance: Any) -> str:
    """Return the end of the console log, at most :data:`MAX_BYTES` bytes.

    A character is a byte, whatever the containers wrote: nova-compute encodes it
    as Latin-1 again, and fails with any character that this does not have.

    :raises InstanceNotFound: when there is no such pod.
    """
    with errors.operating(instance):
        return hyperd.console(instance.uuid, MAX_BYTES).decode("latin-1")


def serial(hyperd: Hyperd, instance: Any, options: Any) -> console_type.ConsoleSerial:
    """Return where nova-serialproxy connects to for the instance's console.

    *options* are Nova's ``[serial_console]``.  nova-compute asks once when a user
    wants the console and again before the proxy lets their token in: the answer
    is the same as long as the instance runs.

    :raises ConsoleTypeUnavailable: when the host's configuration has none.
    :raises InstanceNotReady: when the instance does not run.
    :raises SocketPortRangeExhaustedException: when hyperd has no port left.
    """
    if not options.enabled:
        raise nova_exception.ConsoleTypeUnavailable(console_type="serial")
    host = options.proxyclient_address
    with errors.operating(instance):
        try:
            where = hyperd.open_console(instance.uuid, kind(instance))
        except PortsExhausted as error:
            LOG.error("No console: %s", error.message, instance=instance)
            raise nova_exception.SocketPortRangeExhaustedException(host=host) from error
        except Conflict as error:
            LOG.info("No console: %s", error.message, instance=instance)
            raise nova_exception.InstanceNotReady(instance_id=instance.uuid) from error
    if _contradict(where.host, host):
        LOG.warning(
            "hyperd's consoles listen on %s, where nova-serialproxy will not find them: it is "
            "told %s. Make [console] listen_address in hyperd.conf and [serial_console] "
            "proxyclient_address in nova.conf the same address.",
            where.host,
            host,
        )
    return console_type.ConsoleSerial(host=host, port=where.port)


def kind(instance: Any) -> ConsoleKind:
    """Return what the flavor, or else the image, says that the console is joined to."""
    said = flavor.console(instance.flavor) or image_properties.console(instance)
    return said or ConsoleKind.AUTO


def _contradict(listening: str, told: str) -> bool:
    """Tell whether nobody who is told the one can reach the other."""
    try:
        return not ipaddress.ip_address(listening).is_unspecified and (
            ipaddress.ip_address(listening) != ipaddress.ip_address(told)
        )
    except ValueError:  # a name, which only the proxy's host can resolve
        return False
