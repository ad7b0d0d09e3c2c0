from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nova_hyper.daemon.guest import fingerprint


def test_where_one_part_ends_matters() -> None:
    assert fingerprint.combine("ab", "c") != fingerprint.combine("a", "bc")
    assert fingerprint.combine("a", b"b") == fingerprint.combine(b"a", "b")


def test_names_and_contents_of_files_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    both = fingerprint.of_files([tmp_path / "a", tmp_path / "b"])
    assert both == fingerprint.of_files([tmp_path / "b", tmp_path / "a"])
    (tmp_path / "b").write_text("3")
    changed = fingerprint.of_files([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = fingerprint.of_files([tmp_path / "a", tmp_path / "c"])
    assert len({both, changed, renamed}) == 3


def test_a_large_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"one")
    memory = fingerprint.LargeFiles(tmp_path / "hashes.json")
    assert memory.digest(large) == hashlib.sha256(b"one").hexdigest()
    status = large.stat()
    # Content changed behind its size and time: only a reader would notice.
    large.write_bytes(b"two")
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert memory.digest(large) == hashlib.sha256(b"one").hexdigest()
    os.utime(large, ns=(0, 0))
    assert memory.digest(large) == hashlib.sha256(b"two").hexdigest()


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "hashes.json").write_text("{")
    (tmp_path / "large").write_bytes(b"x")
    digest = fingerprint.LargeFiles(tmp_path / "hashes.json").digest(tmp_path / "large")
    assert digest == hashlib.sha256(b"x").hexdigest()
