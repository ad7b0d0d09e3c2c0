"""The guest's kernel: from a source tarball and our fragment to a PVH ``vmlinux``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.daemon.guest import elf
from nova_hyper.daemon.guest.buildlog import BuildFailed, BuildLog

SOURCES = Path("/usr/src")
FRAGMENT = Path("kernel/hyper.config")

# Sources that no configuration of ours compiles: half of what would be unpacked. Their Kconfig
# files are needed.
_UNUSED = (
    "*/Documentation/*/*",
    "*/tools/testing/*",
    *(f"*/{d}/*.[ch]" for d in ("sound", "drivers/gpu", "drivers/media", "drivers/staging")),
    *(f"*/{d}/*.[ch]" for d in ("drivers/infiniband", "drivers/scsi", "drivers/usb")),
    "*/drivers/net/ethernet/*.[ch]",
    "*/drivers/net/wireless/*.[ch]",
)
_BUILDER = ("KBUILD_BUILD_USER=nova", "KBUILD_BUILD_HOST=hyper")
# With -Os alone gcc copies by "rep movs", which costs a third more time at boot under TCG.
_FLAGS = "-mstringop-strategy=libcall"
# On 64 bits the linker script aligns the entry code, and what SEV guests share, to 2 MiB. Only
# page table isolation and SEV, which the fragment leaves out, need that; every pod would pay
# 3.5 MiB.
_LINKER_SCRIPT = Path("arch/x86/kernel/vmlinux.lds.S")
_ALIGNMENT = ("ALIGN(PMD_SIZE)", "ALIGN(PAGE_SIZE)")

_OPTION = re.compile(r"^(CONFIG_\w+)=(.*)$", re.MULTILINE)
_SYMBOL = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)
_NUMBER = re.compile(r"\d+")


def find_source() -> Path:
    """Return the newest kernel source that the distribution has installed.

    :raises BuildFailed: when there is none.
    """
    found = sorted(
        SOURCES.glob("linux-source-*.tar.*"),
        key=lambda p: [int(n) for n in _NUMBER.findall(p.name)],
    )
    if not found:
        raise BuildFailed(
            f"there is no kernel source in {SOURCES}; install the package linux-source, or give "
            "one with --source or a ready kernel with --kernel"
        )
    return found[-1]


def build(tarball: Path, fragment: Path, work: Path, log: BuildLog, jobs: int) -> Path:
    """Compile the kernel in the directory *work*; return its stripped ``vmlinux``.

    :raises BuildFailed: when a step fails, or an option of the fragment has no effect.
    """
    log.say(f"unpacking {tarball.name}")
    source = work / "linux"
    source.mkdir()
    log.run(
        "unpacking the kernel source",
        [
            *("tar", "--extract", "--file", tarball, "--directory", source),
            *("--strip-components=1", "--wildcards", *(f"--exclude={p}" for p in _UNUSED)),
        ],
    )
    if not (source / "Kconfig").is_file():
        raise BuildFailed(f"{tarball} is not a kernel source: it has no Kconfig")
    log.say("configuring the kernel")
    make = ("make", "-C", source, "ARCH=x86", f"KCFLAGS={_FLAGS}", *_BUILDER)
    log.run(
        "configuring the kernel",
        [*make, "allnoconfig"],
        environment={"KCONFIG_ALLCONFIG": str(fragment)},
    )
    _check_options(fragment, source, log)
    _close_gaps(source, log)
    log.say(f"compiling the kernel with {jobs} jobs")
    log.run("compiling the kernel", [*make, f"-j{jobs}", "vmlinux"])
    stripped = work / "vmlinux"
    log.run("stripping the kernel", ["strip", "-o", stripped, source / "vmlinux"])
    return stripped


def check(vmlinux: Path) -> str:
    """Return the version of a kernel that can be booted by PVH.

    :raises BuildFailed: when QEMU could not boot it, or it says no version.
    """
    try:
        data = vmlinux.read_bytes()
        entry = elf.pvh_entry(data)
    except (OSError, ValueError) as exc:
        raise BuildFailed(f"{vmlinux} is not an uncompressed x86-64 vmlinux: {exc}") from exc
    if entry is None:
        raise BuildFailed(f"{vmlinux} has no PVH entry; build it with CONFIG_PVH=y")
    match = re.search(rb"Linux version (\S+) ", data)
    if match is None:
        raise BuildFailed(f"{vmlinux} does not say which Linux it is")
    return match[1].decode(errors="replace")


def _check_options(fragment: Path, source: Path, log: BuildLog) -> None:
    wanted = dict(_OPTION.findall(fragment.read_text()))
    actual = dict(_OPTION.findall((source / ".config").read_text()))
    missing = [name for name, value in wanted.items() if actual.get(name) != value]
    known = {f"CONFIG_{symbol}" for symbol in _symbols(source)} if missing else set()
    for name in [n for n in missing if n not in known]:
        # Options come and go with the versions; what matters fails when the guest boots.
        log.say(f"this kernel has no option {name}")
    without_effect = [name for name in missing if name in known]
    if without_effect:
        raise BuildFailed(
            f"the kernel source does not accept {', '.join(without_effect)} of {fragment}"
        )


def _close_gaps(source: Path, log: BuildLog) -> None:
    script = source / _LINKER_SCRIPT
    text = script.read_text() if script.is_file() else ""
    if _ALIGNMENT[0] in text:
        script.write_text(text.replace(*_ALIGNMENT))
    else:
        log.say("this kernel's linker script is another one; guests take some MiB more")


def _symbols(source: Path) -> Iterator[str]:
    for file in source.rglob("Kconfig*"):
        if file.is_file():
            yield from _SYMBOL.findall(file.read_text(errors="replace"))
