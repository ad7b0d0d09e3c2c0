"""What a pod needs its agent to be able to do: agents are older than the daemon after an upgrade.

Source: the agent's protocol, "Versions".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nova_hyper.daemon.pods import layout
from nova_hyper.spec.container import Container, Resources, Security
from nova_hyper.spec.errors import GuestFailed
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from nova_hyper.spec.probe import Probes

SUPERVISE = "supervise"
RESOURCES = "resources"
SECURITY = "security"
VOLUMES = "volumes"
SYSCTLS = "sysctls"
STREAMS = "streams"
DISKS = "disks"
SETUP = "setup"
GROW = "grow"
ROOTS = "roots"


def check(
    spec: PodSpec, features: Collection[str], *, grown: bool = False, rescue: bool = False
) -> None:
    """Refuse a pod that an agent with these *features* would run otherwise than asked for.

    *grown* is whether a disk of the pod has become larger since it was made,
    *rescue* whether it repairs another.

    :raises GuestFailed: saying what the agent lacks.
    """
    for feature, what in _needed(spec, grown, rescue):
        require(feature, what, features)


def require(feature: str, what: str, features: Collection[str]) -> None:
    """Refuse *what*, for which an agent with these *features* lacks one.

    :raises GuestFailed: saying so.
    """
    if feature not in features:
        raise GuestFailed(
            f"the guest's agent is too old for {what}: build the guest again (hyperctl guest "
            "build) and start the pod anew",
            feature=feature,
        )


def has_security(container: Container) -> bool:
    """Tell whether the agent has to restrict the container; ``non_root`` is the host's affair."""
    restricted = container.security
    return restricted != Security(non_root=restricted.non_root)


def _needed(spec: PodSpec, grown: bool, rescue: bool) -> Iterator[tuple[str, str]]:
    if rescue:
        yield ROOTS, "rescuing pods"
    if grown:
        yield GROW, "disks that have become larger"
    if layout.is_shared(spec):
        yield VOLUMES, "volumes and several containers"
    if spec.ephemerals or spec.swap_mib:
        yield DISKS, "ephemeral disks and swap"
    if spec.config_drive:
        yield SETUP, "config drives"
    if spec.init_containers:
        yield SUPERVISE, "init containers"
    if spec.restart_policy is not RestartPolicy.NEVER:
        yield SUPERVISE, "restarting containers"
    if spec.sysctls or spec.host_aliases:
        yield SYSCTLS, "sysctls and host aliases"
    for container in spec.all_containers:
        if container.probes != Probes():
            yield SUPERVISE, "probes"
        if container.resources != Resources():
            yield RESOURCES, "limits of containers"
        if has_security(container):
            yield SECURITY, "security contexts"
        if container.stdin or container.tty:
            yield STREAMS, "terminals and standard input"
