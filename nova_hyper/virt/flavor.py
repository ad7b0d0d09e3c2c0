"""What a flavor's extra specs say of a pod: which are honoured, and what they mean.

The API validates them from microversion 2.86 on only, so nothing here is taken
for granted.  An extra spec that would change a virtual machine and does nothing
for a pod is refused by its name.

Sources: ``LibvirtDriver._update_guest_cputune`` and ``_add_rng_device``,
``imagebackend.Image.disk_qos``, ``designer.set_vif_bandwidth_config``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nova import exception
from nova.virt import hardware
from oslo_utils import strutils

from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.pod import RestartPolicy
from nova_hyper.spec.tuning import (
    Bandwidth,
    CpuLimits,
    CpuTopology,
    DiskLimits,
    NicLimits,
    Rng,
    Tuning,
)
from nova_hyper.virt import extra_specs

_UINT32 = 2**32 - 1
_RATE = 10**15
# libvirt's own bounds, so that a wrong figure is refused before a host is tried.
_BOUNDS = {
    "quota:cpu_shares": (2, 262144),
    "quota:cpu_period": (1000, 1000000),
    "quota:cpu_quota": (1000, 17592186044415),
    **{
        f"quota:disk_{what}_{unit}_sec": (1, _RATE)
        for what in ("read", "write", "total")
        for unit in ("bytes", "iops")
    },
    **{
        f"quota:vif_{way}_{what}": (1, _UINT32)
        for way in ("inbound", "outbound")
        for what in ("average", "peak", "burst")
    },
    "hw_rng:rate_bytes": (1, _UINT32),
    "hw_rng:rate_period": (1, _UINT32),
}
# Nova's own functions read these, and those of NUMA are refused together, in one sentence.
_NOVAS = re.compile(
    r"hw:(cpu_(max_)?(sockets|cores|threads)|vif_multiqueue_enabled|numa_\w+(\.\d+)?|cpu_policy"
    r"|cpu_thread_policy|cpu_dedicated_mask|cpu_realtime(_mask)?|mem_page_size"
    r"|pci_numa_affinity_policy)"
)
_NAMESPACES = ("hw", "hw_rng", "hw_video", "quota", "os", "hyper")
# What says of something that a pod has not got that it shall not have it.
_HARMLESS = {
    "hw:watchdog_action": ("disabled", "none"),
    "os:secure_boot": ("disabled", "optional"),
    "hw:serial_port_count": ("1", "0"),
    "hw:redirected_usb_ports": ("0",),
    "hw_video:ram_max_mb": ("0",),
}
_SWITCHES = (
    "hw:boot_menu",
    "hw:hide_hypervisor_id",
    "hw:locked_memory",
    "hw:mem_encryption",
    "hw:pmu",
    "hw:virtio_packed_ring",
    "hw:ephemeral_encryption",
)
_OURS = (
    extra_specs.RESTART_POLICY,
    extra_specs.TERMINATION_GRACE,
    extra_specs.EPHEMERAL_PATH,
    extra_specs.CONSOLE,
    "hw_rng:allowed",
)


class Wrong(Exception):
    """An extra spec has a value that it cannot have."""


def problems(flavor: Any, image_meta: Any) -> Iterator[str]:
    """Yield why *flavor* is none for pods."""
    for key, value in sorted(flavor.extra_specs.items()):
        if _is_foreign(key, str(value)):
            yield (
                f"the flavor's extra spec {key}={value} is not for pods; choose a flavor without "
                "it"
            )
    try:
        tuning(flavor, image_meta)
        restart_policy(flavor)
        termination_grace(flavor)
        ephemeral_path(flavor)
        console(flavor)
    except Wrong as exc:
        yield f"{exc}; choose another flavor"
    except exception.NovaException as exc:
        yield exc.format_message().rstrip(".")


def _is_foreign(key: str, value: str) -> bool:
    namespace, colon, _ = key.partition(":")
    if not colon or namespace not in _NAMESPACES:
        return False
    if key in _BOUNDS or key in _OURS or _NOVAS.fullmatch(key):
        return False
    if key in _SWITCHES:
        return strutils.bool_from_string(value)
    return value not in _HARMLESS.get(key, ())


def tuning(flavor: Any, image_meta: Any) -> Tuning:
    """Return the limits and the make of the micro-VM of a pod of *flavor* and an image."""
    specs = flavor.extra_specs
    topology = hardware.get_best_cpu_topology(flavor, image_meta)
    return Tuning(
        cpu=CpuLimits(
            _number(specs, "quota:cpu_shares"),
            _number(specs, "quota:cpu_period"),
            _number(specs, "quota:cpu_quota"),
        ),
        topology=CpuTopology(topology.sockets, topology.cores, topology.threads),
        disk=DiskLimits(
            **{
                f"{what}_{unit}_sec": _number(specs, f"quota:disk_{what}_{unit}_sec") or 0
                for what in ("read", "write", "total")
                for unit in ("bytes", "iops")
            }
        ),
        nic=NicLimits(_bandwidth(specs, "inbound"), _bandwidth(specs, "outbound")),
        rng=Rng(
            enabled=_switch(specs, "hw_rng:allowed", default=True),
            rate_bytes=_number(specs, "hw_rng:rate_bytes") or 0,
            rate_period_ms=_number(specs, "hw_rng:rate_period") or 0,
        ),
        multiqueue=bool(hardware.get_vif_multiqueue_constraint(flavor, image_meta)),
    )


def restart_policy(flavor: Any) -> RestartPolicy | None:
    """Return the restart policy of the flavor, None when it has none."""
    value = flavor.extra_specs.get(extra_specs.RESTART_POLICY)
    return None if value is None else policy_of(extra_specs.RESTART_POLICY, value)


def policy_of(what: str, value: str) -> RestartPolicy:
    """Return the restart policy that the extra spec or property *what* names.

    :raises Exception: one that :func:`problems` makes a sentence of.
    """
    if value not in extra_specs.RESTART_POLICIES:
        raise Wrong(f"{what}={value} must be one of {', '.join(extra_specs.RESTART_POLICIES)}")
    return RestartPolicy(value)


def termination_grace(flavor: Any) -> float | None:
    """Return the seconds between stop signal and SIGKILL, None when the flavor says nothing."""
    key = extra_specs.TERMINATION_GRACE
    value = flavor.extra_specs.get(key)
    return None if value is None else float(_within(key, value, 0, extra_specs.MAX_GRACE_S))


def ephemeral_path(flavor: Any) -> str:
    """Return where containers see the first ephemeral disk."""
    path = str(flavor.extra_specs.get(extra_specs.EPHEMERAL_PATH, "/mnt"))
    if not re.fullmatch(extra_specs.PATH_PATTERN, path):
        raise Wrong(f"{extra_specs.EPHEMERAL_PATH}={path} is not an absolute path")
    return path


def console(flavor: Any) -> ConsoleKind | None:
    """Return what the console is joined to, None when the flavor says nothing."""
    value = flavor.extra_specs.get(extra_specs.CONSOLE)
    return None if value is None else console_of(extra_specs.CONSOLE, value)


def console_of(what: str, value: str) -> ConsoleKind:
    """Return the kind of console that the extra spec or property *what* names.

    :raises Exception: one that :func:`problems` makes a sentence of.
    """
    if value not in extra_specs.CONSOLE_KINDS:
        raise Wrong(f"{what}={value} must be one of {', '.join(extra_specs.CONSOLE_KINDS)}")
    return ConsoleKind(value)


def _bandwidth(specs: dict[str, str], way: str) -> Bandwidth:
    return Bandwidth(
        *(_number(specs, f"quota:vif_{way}_{what}") or 0 for what in ("average", "peak", "burst"))
    )


def _number(specs: dict[str, str], key: str) -> int | None:
    """Return the value of *key*; None where it is missing, or says that there is no limit."""
    value = specs.get(key)
    if value is None:
        return None
    number = _integer(key, value)
    # 0 is "no value" of a period, and no limit of the others; a negative quota is none either.
    if number == 0:
        return None
    if key == "quota:cpu_quota" and number < 0:
        return -1
    return _within(key, value, *_BOUNDS[key])


def _integer(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Wrong(f"{key}={value} is not a whole number") from None


def _within(key: str, value: str, least: int, most: int) -> int:
    number = _integer(key, value)
    if not least <= number <= most:
        raise Wrong(f"{key}={value} is not from {least} to {most}")
    return number


def _switch(specs: dict[str, str], key: str, default: bool) -> bool:
    try:
        return strutils.bool_from_string(specs.get(key, str(default)), strict=True)
    except ValueError:
        raise Wrong(f"{key}={specs[key]} is neither true nor false") from None
