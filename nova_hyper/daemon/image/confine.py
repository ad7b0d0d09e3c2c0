"""Confinement of the process that calls it: for good, before it sees a hostile byte.

Each measure stands for itself, so that what a host lacks (root, user
namespaces, libseccomp) costs that measure only; :func:`confine` says which
ones could not be had.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import resource
from collections.abc import Callable
from contextlib import suppress

from nova_hyper.daemon.image import seccomp

MIB = 1 << 20

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITY = 64
_OPEN_FILES = 64
_PROCESSES = 512
_NOBODY = 65534
_CPU_GRACE_S = 5


@dataclasses.dataclass(frozen=True)
class Confinement:
    """How a process is to be confined.

    :param uid: the user to become where the process is root, with *gid*.
    :param root: an empty directory, the process's whole file tree.
    :param memory_mib: of address space.
    :param cpu_s: seconds of processor time, of all threads together.
    :param file_bytes: largest file to write.
    """

    uid: int = _NOBODY
    gid: int = _NOBODY
    root: str = "/var/empty"
    memory_mib: int = 1536
    cpu_s: int = 3600
    file_bytes: int = 1 << 40


def confine(to: Confinement) -> list[str]:
    """Confine this process, which has one thread, and return what could not be done, in words.

    Afterwards it can use its open files and memory, within limits, and nothing else.
    """
    lost: list[str] = []

    def attempt(what: str, measure: Callable[[], None]) -> None:
        try:
            measure()
        except (OSError, ValueError) as exc:
            lost.append(f"{what} ({exc})")

    libc = ctypes.CDLL(None, use_errno=True)
    library: ctypes.CDLL | None = None
    try:
        library = seccomp.load()
    except OSError as exc:
        lost.append(f"no system call filter ({exc})")
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        # When the host has no memory left, an import is what it can do without best.
        file.write("900")
    attempt("no limits of its own", lambda: _limit(to))
    attempt("no namespaces of its own, so the host's network", lambda: _unshare(libc))
    attempt("the host's file tree", lambda: _enter(to.root))
    _drop_bounding(libc)
    if os.geteuid() == 0:
        attempt("hyperd's own user", lambda: _become(to.uid, to.gid))
    attempt("capabilities", lambda: _drop_capabilities(libc))
    attempt("new privileges", lambda: _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1))
    attempt("core dumps", lambda: _prctl(libc, _PR_SET_DUMPABLE, 0))
    if library is not None:
        filter_library = library
        attempt("no system call filter", lambda: seccomp.restrict(filter_library))
    return lost


def _limit(to: Confinement) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, to.memory_mib * MIB),
        (resource.RLIMIT_CPU, to.cpu_s),
        (resource.RLIMIT_FSIZE, to.file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _PROCESSES),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        now = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # SIGXCPU tells what happened; at the hard limit it would be SIGKILL.
        last = now if kind != resource.RLIMIT_CPU or now < most else now + _CPU_GRACE_S
        resource.setrlimit(kind, (now, last))


def _unshare(libc: ctypes.CDLL) -> None:
    flags = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNS
    if os.geteuid() != 0:
        # Whoever is not root gets namespaces, and the right to change its root, with a user
        # namespace only.
        flags |= _CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise _failed("unshare")


def _enter(root: str) -> None:
    os.chroot(root)
    os.chdir("/")


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _drop_bounding(libc: ctypes.CDLL) -> None:
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_MAX_CAPABILITY):
        # Fails for numbers that the kernel does not know, and for whoever has nothing to drop.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) != 0:
        raise _failed("capset")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise _failed("prctl")


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
