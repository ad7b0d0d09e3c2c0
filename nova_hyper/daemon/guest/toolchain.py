"""The programs and libraries that a build needs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from nova_hyper.daemon.guest.buildlog import BuildFailed

_PACKAGES = {
    "gcc": "gcc",
    "make": "make",
    "ld": "binutils",
    "strip": "binutils",
}
_KERNEL_PACKAGES = {"flex": "flex", "bison": "bison", "bc": "bc", "tar": "tar", "xz": "xz-utils"}


def identity() -> str:
    """Return the versions of compiler and linker.

    :raises BuildFailed: when there is none.
    """
    require({"gcc": "gcc", "ld": "binutils"}, {})
    return "".join(_output(tool, "--version") for tool in ("gcc", "ld"))


def jansson() -> Path:
    """Return the static JSON library that the agent is linked with.

    :raises BuildFailed: when it is not installed.
    """
    path = Path(_output("gcc", "-print-file-name=libjansson.a").strip())
    if not path.is_absolute():
        raise BuildFailed("the agent needs jansson; install the package libjansson-dev")
    return path


def require_for_agent() -> None:
    """Raise BuildFailed with the packages that are missing to compile the agent."""
    require(_PACKAGES, {"jansson.h": "libjansson-dev", "linux/random.h": "linux-libc-dev"})


def require_for_kernel() -> None:
    """Raise BuildFailed with the packages that are missing to compile a kernel."""
    require(_PACKAGES | _KERNEL_PACKAGES, {"gelf.h": "libelf-dev", "stdlib.h": "libc6-dev"})


def require(programs: dict[str, str], headers: dict[str, str]) -> None:
    """Raise BuildFailed when a program or C header is missing; values are Debian's packages."""
    missing = [package for name, package in programs.items() if shutil.which(name) is None]
    if not missing:
        missing = [package for name, package in headers.items() if not _has_header(name)]
    if missing:
        raise BuildFailed(
            f"the build needs more packages: apt install {' '.join(sorted(set(missing)))}"
        )


def _has_header(name: str) -> bool:
    command = ["gcc", "-E", "-include", name, "-x", "c", "/dev/null", "-o", "/dev/null"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
