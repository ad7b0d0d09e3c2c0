"""What pod an instance is: a pure function from Nova's objects to a PodSpec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nova_hyper.spec.container import Container
from nova_hyper.spec.pod import Pod, PodSpec
from nova_hyper.vif import nics

CONTAINER_NAME = "main"
MANIFEST_LABEL = "nova.manifest"
"""The label of a pod that a manifest describes: that says how it is supervised."""
_CREATOR = "creator"
_NOVA = "nova"
_FLAVOR = "nova.flavor"
_MAX_HOSTNAME = 63


def build(instance: Any, image: str, network_info: Iterable[Mapping[str, Any]]) -> PodSpec:
    """Return the pod of *instance*: one container of *image*, an id or a name in the store.

    The flavor gives vCPUs, memory (MiB) and the size of the writable layer
    (GiB; 0 is a tmpfs).

    :raises VifUnsupported: for a port that a pod cannot have.
    """
    flavor = instance.flavor
    ports = list(network_info)
    return PodSpec(
        id=instance.uuid,
        name=instance.name,
        containers=(Container(name=CONTAINER_NAME, image=image),),
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mb,
        root_gib=flavor.root_gb,
        hostname=_hostname(instance.hostname or instance.name),
        nics=nics.to_nics(ports),
        dns=nics.to_dns(ports),
        labels=_labels(instance),
    )


def is_novas(pod: Pod) -> bool:
    """Tell whether Nova made *pod*: an operator may run others beside them."""
    return pod.spec.labels.get(_CREATOR) == _NOVA


def labels_of_flavor(labels: Mapping[str, str], flavor: Any) -> dict[str, str]:
    """Return *labels* as they are with another flavor."""
    return {**labels, _FLAVOR: str(flavor.name)}


def _hostname(name: str) -> str:
    """Return *name*, or its first label where Nova allows more than Linux does."""
    return name if len(name) <= _MAX_HOSTNAME else name.partition(".")[0][:_MAX_HOSTNAME]


def _labels(instance: Any) -> dict[str, str]:
    """Return what lets an operator on the host tell whose pod it is."""
    labels = {
        _CREATOR: _NOVA,
        "nova.display_name": instance.display_name,
        _FLAVOR: instance.flavor.name,
        "nova.image": instance.image_ref,
        "nova.project": instance.project_id,
        "nova.user": instance.user_id,
    }
    return {key: str(value) for key, value in labels.items() if value}
