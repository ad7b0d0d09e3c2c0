"""A system call filter for a process that converts images, made with libseccomp.

Only what CPython and glibc need to compute, to use threads, and to read and
write open files is allowed: nothing can be opened, started, connected, mapped
as code, or signalled.  Source: seccomp_rule_add(3), seccomp_attr_set(3).
"""

from __future__ import annotations

import ctypes
import errno

LIBRARY = "libseccomp.so.2"

_ALLOWED = (
    # Open files.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "lseek",
    "_llseek",
    "close",
    "fstat",
    "fstat64",
    "dup",
    "fcntl",
    "fcntl64",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "sendmsg",
    "recvmsg",
    "sendto",
    "recvfrom",
    "send",
    "recv",
    # Memory; mmap and mprotect have rules of their own.
    "munmap",
    "mremap",
    "brk",
    "madvise",
    # Threads; clone has a rule of its own.
    "futex",
    "futex_time64",
    "set_robust_list",
    "rseq",
    "sched_yield",
    "sched_getaffinity",
    "gettid",
    "getpid",
    "exit",
    "exit_group",
    "set_tid_address",
    # Signals that a process sends itself, and returns from handlers.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    # Time and chance.
    "clock_gettime",
    "clock_gettime64",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "getrandom",
    "getrusage",
)

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_MASKED_EQ = 7
_CLONE_THREAD = 0x00010000
_PROT_EXEC = 4


class _Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def load(name: str = LIBRARY) -> ctypes.CDLL:
    """Return libseccomp.

    :raises OSError: when it is not installed.
    """
    library = ctypes.CDLL(name)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Compare),
    ]
    return library


def restrict(library: ctypes.CDLL) -> None:
    """Allow this process, which has one thread, nothing but what it needs, for good.

    Anything else fails with EPERM; a call for another architecture kills.

    :raises OSError: when the kernel does not take the filter.
    """
    context = library.seccomp_init(_ERRNO | errno.EPERM)
    if not context:
        raise OSError(errno.ENOMEM, "libseccomp cannot make a filter")
    try:
        for name in _ALLOWED:
            _add(library, context, _ALLOW, name)
        _add(library, context, _ALLOW, "clone", _Compare(0, _MASKED_EQ, *[_CLONE_THREAD] * 2))
        # Its arguments are in memory, where no filter can look; glibc then takes clone().
        _add(library, context, _ERRNO | errno.ENOSYS, "clone3")
        for name in ("mmap", "mmap2", "mprotect"):
            _add(library, context, _ALLOW, name, _Compare(2, _MASKED_EQ, _PROT_EXEC, 0))
        _check(library.seccomp_load(context))
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, action: int, name: str, *compare: _Compare) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        # Not a call of this architecture.
        return
    arguments = (_Compare * len(compare))(*compare)
    _check(library.seccomp_rule_add_array(context, action, number, len(compare), arguments))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, "the kernel does not take a system call filter")
