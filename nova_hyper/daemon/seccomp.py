"""Seccomp profiles of container engines, compiled to what a kernel takes.

The profile is the distribution's own file for docker's and podman's containers
(its format: containers/common, pkg/seccomp/types.go), and libseccomp compiles it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova_hyper.spec.errors import HyperError

if TYPE_CHECKING:
    import ctypes

# seccomp(2), and libseccomp's seccomp.h.
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_COMPARISONS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
_OPTIMIZE = 8
_BINARY_TREE = 2
_UNKNOWN = -1
# A rule that says what the default says already, or what another rule does.
_IDLE = (-errno.EACCES, -errno.EEXIST)


def compile_filter(profile: Path, arch: str, capabilities: Collection[str] | None) -> bytes:
    """Return the array of ``struct sock_filter`` of *profile* for a container.

    :param arch: of the guest, as images name it (``amd64``).
    :param capabilities: what the container has, None for all.
    :raises HyperError: when the profile or libseccomp is not there, or does not fit.
    """
    try:
        document = json.loads(profile.read_bytes())
        return _compile(document, arch, capabilities)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise HyperError(
            f"the seccomp profile {profile} cannot be used ({exc}): install "
            "golang-github-containers-common and libseccomp2 on the host, or run the container "
            "with the profile Unconfined"
        ) from exc


def _compile(
    document: Mapping[str, Any], arch: str, capabilities: Collection[str] | None
) -> bytes:
    # Only needed by few pods, so that the others need not pay for it.
    import ctypes

    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    default = _action(document["defaultAction"], document.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    if not context:
        raise ValueError("libseccomp refuses its default action")
    try:
        native = f"SCMP_ARCH_{_ARCHES.get(arch, arch).upper()}"
        for entry in document.get("archMap") or ():
            if entry["architecture"] == native:
                for other in entry.get("subArchitectures") or ():
                    name = other.removeprefix("SCMP_ARCH_").lower().encode()
                    token = library.seccomp_arch_resolve_name(name)
                    _check(library.seccomp_arch_add(context, ctypes.c_uint32(token)), other)
        for rule in document["syscalls"]:
            if _applies(rule, arch, capabilities):
                _add(library, context, rule, default)
        library.seccomp_attr_set(context, _OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _applies(rule: Mapping[str, Any], arch: str, capabilities: Collection[str] | None) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}

    def has(names: Collection[str]) -> bool:
        return capabilities is None or set(names) <= set(capabilities)

    if "caps" in includes and not has(includes["caps"]):
        return False
    if "arches" in includes and arch not in includes["arches"]:
        return False
    if "caps" in excludes and any(has([name]) for name in excludes["caps"]):
        return False
    return arch not in excludes.get("arches", ())


def _add(
    library: ctypes.CDLL, context: ctypes.c_void_p, rule: Mapping[str, Any], default: int
) -> None:
    import ctypes

    class Comparison(ctypes.Structure):
        _fields_ = (
            ("arg", ctypes.c_uint),
            ("op", ctypes.c_int),
            ("datum_a", ctypes.c_uint64),
            ("datum_b", ctypes.c_uint64),
        )

    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    given = rule.get("args") or ()
    comparisons = (Comparison * len(given))(
        *(
            Comparison(a["index"], _COMPARISONS[a["op"]], a["value"], a.get("valueTwo", 0))
            for a in given
        )
    )
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:  # newer than libseccomp: the default holds for it
            continue
        result = library.seccomp_rule_add_array(
            context, ctypes.c_uint32(action), number, len(given), comparisons
        )
        if result not in _IDLE:
            _check(result, name)


def _action(name: str, code: int | None) -> int:
    # Without a code the answer of docker and podman is EPERM.
    return _ACTIONS[name] | ((code or errno.EPERM) if name == "SCMP_ACT_ERRNO" else 0)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise ValueError(f"{what}: {os.strerror(-result)}")


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, fd), "the export")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
