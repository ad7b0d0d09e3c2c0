"""Security contexts: the Pod's, and the container's that comes over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_hyper.manifest.problems import Problems
from nova_hyper.spec.container import SECCOMP_DEFAULT, SECCOMP_UNCONFINED, Security

# What containerd, CRI-O and docker give a container: oci.WithDefaultUnixCaps of containerd.
_DEFAULT = frozenset(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "  # noqa: SIM905
    "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE".split()
)
# capabilities(7), in the order of their numbers.
_ALL = tuple(
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "  # noqa: SIM905
    "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE".split()
)
_PROFILES = {"RuntimeDefault": SECCOMP_DEFAULT, "Unconfined": SECCOMP_UNCONFINED}


def security(
    pod: Mapping[str, Any], container: Mapping[str, Any], path: str, problems: Problems
) -> Security:
    """Return what a container may do; *path* is of its own security context."""
    privileged = container.get("privileged", False)
    escalation = container.get("allowPrivilegeEscalation", True)
    if privileged and not escalation:
        problems.add(
            f"{path}.allowPrivilegeEscalation", "cannot be false in a privileged container"
        )
    profile = container.get("seccompProfile", pod.get("seccompProfile", {"type": "Unconfined"}))
    if privileged:
        profile = {"type": "Unconfined"}
    groups = list(pod.get("supplementalGroups", ()))
    if "fsGroup" in pod:
        groups.append(pod["fsGroup"])
    return Security(
        read_only_root=container.get("readOnlyRootFilesystem", False),
        capabilities=None if privileged else _capabilities(container, path, problems),
        no_new_privileges=not escalation,
        non_root=container.get("runAsNonRoot", pod.get("runAsNonRoot", False)),
        groups=tuple(dict.fromkeys(groups)),
        seccomp=_PROFILES[profile["type"]],
    )


def user(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    """Return the user as an image names one; ``:gid`` leaves the user to the image."""
    uid = container.get("runAsUser", pod.get("runAsUser"))
    gid = container.get("runAsGroup", pod.get("runAsGroup"))
    if uid is None and gid is None:
        return None
    if uid is None:
        return f":{gid}"
    return f"{uid}" if gid is None else f"{uid}:{gid}"


def _capabilities(container: Mapping[str, Any], path: str, problems: Problems) -> tuple[str, ...]:
    def named(verb: str) -> set[str]:
        given = container.get("capabilities", {}).get(verb, ())
        names = [name.upper().removeprefix("CAP_") for name in given]
        for index, name in enumerate(names):
            if name != "ALL" and name not in _ALL:
                problems.add(
                    f"{path}.capabilities.{verb}[{index}]",
                    f"is {given[index][:40]!r}, which is no capability (see capabilities(7)) nor "
                    "ALL",
                )
        return set(names)

    add, drop = named("add"), named("drop")
    # In this order, as containerd does: "drop: [ALL]" is the usual beginning of a short list.
    found = set(_ALL) if "ALL" in add else set(_DEFAULT)
    if "ALL" in drop:
        found = set()
    found = (found | add) - drop
    return tuple(f"CAP_{name}" for name in _ALL if name in found)
