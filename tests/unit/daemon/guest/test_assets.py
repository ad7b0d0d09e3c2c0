from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_hyper.daemon.guest import assets
from nova_hyper.spec.errors import GuestMissing


def make(directory: Path, key: str, **over: object) -> Path:
    build = directory / key
    build.mkdir(parents=True)
    (build / "vmlinux").write_bytes(b"kernel")
    (build / "initramfs.cpio").write_bytes(b"cpio")
    manifest = {"key": key, "kernel_version": "6.1.0", "agent_version": "0.1.0"} | over
    (build / "manifest.json").write_text(json.dumps(manifest))
    return build


def test_the_current_build_is_found_by_its_own_path(tmp_path: Path) -> None:
    build = make(tmp_path, "abc")
    assets.switch(tmp_path, build)
    found = assets.current(tmp_path)
    assert found.kernel == build / "vmlinux"
    assert found.initramfs == build / "initramfs.cpio"
    assert (found.key, found.kernel_version, found.agent_version) == ("abc", "6.1.0", "0.1.0")


def test_switching_leaves_earlier_paths_valid(tmp_path: Path) -> None:
    assets.switch(tmp_path, make(tmp_path, "old"))
    old = assets.current(tmp_path)
    assets.switch(tmp_path, make(tmp_path, "new"))
    assets.switch(tmp_path, tmp_path / "new")
    assert assets.current(tmp_path).key == "new"
    assert old.kernel.exists()


@pytest.mark.parametrize("damage", ["nothing", "no directory", "no kernel", "empty", "manifest"])
def test_without_a_usable_build_the_error_says_what_to_do(tmp_path: Path, damage: str) -> None:
    directory = tmp_path / "guest"
    if damage != "no directory":
        directory.mkdir()
    if damage in ("no kernel", "empty", "manifest"):
        build = make(directory, "abc", **({"agent_version": 7} if damage == "manifest" else {}))
        assets.switch(directory, build)
        if damage == "no kernel":
            (build / "vmlinux").unlink()
        if damage == "empty":
            (build / "initramfs.cpio").write_bytes(b"")
    with pytest.raises(GuestMissing, match="hyperctl guest build"):
        assets.current(directory)
