"""The console log of an instance: what its containers wrote to stdout and stderr."""

from __future__ import annotations

from typing import Any

from nova_hyper.client import Hyperd
from nova_hyper.virt import errors

# As much as the libvirt driver returns; nova-compute cuts it to the lines asked for.
MAX_BYTES = 100 * 1024


def output(hyperd: Hyperd, instance: Any) -> str:
    """Return the end of the console log, at most :data:`MAX_BYTES` bytes.

    :raises InstanceNotFound: when there is no such pod.
    """
    with errors.operating(instance):
        return hyperd.console(instance.uuid, MAX_BYTES).decode("utf-8", "replace")
