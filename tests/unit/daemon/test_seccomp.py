"""Seccomp profiles are compiled to filters that a kernel takes."""

from __future__ import annotations

import ctypes
import errno
import json
import os

import pytest

from nova_hyper.daemon.seccomp import compile_filter
from nova_hyper.spec.errors import HyperError

# Allows all but chroot, which takes the capability, sched_yield with it, and a dup of 1.
PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {
            "names": ["chroot", "no_such_call"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": errno.EXDEV,
            "excludes": {"caps": ["CAP_SYS_CHROOT"]},
        },
        {
            "names": ["sched_yield"],
            "action": "SCMP_ACT_ERRNO",
            "includes": {"caps": ["CAP_SYS_CHROOT"]},
        },
        {
            "names": ["dup"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
        },
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["s390"]}},
    ],
}


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(PROFILE))
    return path


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def under(program, *calls):
    """Run *calls* of libc in a process under the filter; return their errors, 0 for none."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        code = ctypes.create_string_buffer(program, len(program))
        loaded = Program(len(program) // 8, ctypes.addressof(code))
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        if libc.prctl(22, 2, ctypes.byref(loaded), 0, 0) == 0:  # PR_SET_SECCOMP
            found = []
            for name, *args in calls:
                ctypes.set_errno(0)
                result = getattr(libc, name)(*args)
                found.append(ctypes.get_errno() if result < 0 else 0)
            os.write(write, json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as file:
        return json.load(file)


@pytest.mark.parametrize(
    ("capabilities", "errors"),
    [
        ((), [errno.EXDEV, 0, errno.EPERM, 0, 0]),
        (("CAP_SYS_CHROOT",), [0, errno.EPERM, errno.EPERM, 0, 0]),
        (None, [0, errno.EPERM, errno.EPERM, 0, 0]),
    ],
)
def test_the_kernel_does_what_the_profile_says(profile, capabilities, errors):
    program = compile_filter(profile, "amd64", capabilities)
    calls = [("chroot", b"/"), ("sched_yield",), ("dup", 1), ("dup", 2), ("getpid",)]
    assert under(program, *calls) == errors


@pytest.mark.parametrize(
    "content",
    [None, "{", "[]", "{}", '{"defaultAction": "SCMP_ACT_JUMP", "syscalls": []}'],
)
def test_a_profile_that_cannot_be_used_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HyperError) as caught:
        compile_filter(path, "amd64", None)
    assert str(path) in caught.value.message
    assert "Unconfined" in caught.value.message
