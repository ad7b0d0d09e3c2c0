from __future__ import annotations

import subprocess
from pathlib import Path

from nova_hyper.daemon.guest import initramfs


def test_cpio_unpacks_what_was_packed(tmp_path: Path) -> None:
    archive = initramfs.pack({"init": b"#!/bin/sh\n", "other": bytes(range(256)) * 5})
    subprocess.run(["cpio", "--extract", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "other").read_bytes() == bytes(range(256)) * 5
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755


def test_the_same_input_gives_the_same_archive() -> None:
    assert initramfs.pack({"init": b"x"}) == initramfs.pack({"init": b"x"})
    assert len(initramfs.pack({"init": b"x"})) % 512 == 0


def test_sources_are_what_the_compiler_reads(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    (agent / "build").mkdir(parents=True)
    for name in ("a.c", "a.h", "Makefile", "notes.txt", "build/a.o"):
        (agent / name).touch()
    assert [f.name for f in initramfs.agent_sources(tmp_path)] == ["Makefile", "a.c", "a.h"]
