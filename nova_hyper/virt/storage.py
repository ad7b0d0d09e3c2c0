"""Where the disks of instances are: on this host, never on storage that hosts share.

Nova asks when it evacuates, and before it lets a destination remove what its
source may still need: source and destination of a resize are one host.
"""

from __future__ import annotations

from typing import Any

from oslo_log import log as logging

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import HyperError, PodNotFound

LOG = logging.getLogger(__name__)

_HOST = "host"


def question(host: str) -> dict[str, str]:
    """Return what this host asks another about the disks of an instance."""
    return {_HOST: host}


def is_shared(asked: dict[str, str], host: str) -> bool:
    """Tell whether the disks of the host that *asked* are this one's."""
    return asked.get(_HOST) == host


def delete(hyperd: Hyperd, instance: Any) -> bool:
    """Remove what is left of an instance that Nova has deleted; return whether nothing is."""
    try:
        hyperd.delete_pod(instance.uuid)
    except PodNotFound:
        return True
    except HyperError as error:
        LOG.warning("Cannot remove its pod yet: %s", error, instance=instance)
        return False
    return True
