"""The initramfs: a cpio archive with the agent as ``/init``."""

from __future__ import annotations

from pathlib import Path

from nova_hyper.daemon.guest.buildlog import BuildLog

AGENT = Path("agent")
_FILE = 0o100755
_BLOCK = 512


def agent_sources(source_dir: Path) -> list[Path]:
    """Return the files that the agent is made of."""
    directory = source_dir / AGENT
    return sorted(
        file
        for file in directory.iterdir()
        if file.suffix in (".c", ".h") or file.name == "Makefile"
    )


def build(source_dir: Path, work: Path, log: BuildLog, jobs: int) -> Path:
    """Compile the agent in the directory *work*; return the archive.

    :raises BuildFailed: when it does not compile.
    """
    log.say("compiling the agent")
    output = work / "agent"
    log.run(
        "compiling the agent",
        ["make", "-C", source_dir / AGENT, f"-j{jobs}", f"BUILD={output}", f"{output}/agent"],
    )
    archive = work / "initramfs.cpio"
    archive.write_bytes(pack({"init": (output / "agent").read_bytes()}))
    return archive


def pack(files: dict[str, bytes]) -> bytes:
    """Return a cpio archive (newc) of executable files; the same for the same input.

    Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst
    """
    archive = bytearray()
    for number, (name, data) in enumerate(files.items(), start=1):
        archive += _member(number, name, _FILE, data)
    archive += _member(0, "TRAILER!!!", 0, b"")
    archive += bytes(-len(archive) % _BLOCK)
    return bytes(archive)


def _member(inode: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    header += bytes(-len(header) % 4)
    return header + data + bytes(-len(data) % 4)
