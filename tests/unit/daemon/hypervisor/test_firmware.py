"""The firmware is copied to where every host's libvirt lets QEMU read it."""

import stat

from nova_hyper.daemon.hypervisor.firmware import placed


def test_it_is_copied_once_and_readable_by_qemu(tmp_path):
    rom = tmp_path / "qboot.rom"
    rom.write_bytes(b"rom")
    copy = placed(rom, tmp_path / "state")
    assert copy.read_bytes() == b"rom"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o444
    before = copy.stat().st_ino
    assert placed(rom, tmp_path / "state") == copy
    assert copy.stat().st_ino == before


def test_a_newer_one_takes_its_place(tmp_path):
    rom = tmp_path / "qboot.rom"
    rom.write_bytes(b"old")
    placed(rom, tmp_path / "state")
    rom.write_bytes(b"new")
    assert placed(rom, tmp_path / "state").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["qboot.rom"]


def test_there_may_be_none(tmp_path):
    assert placed(tmp_path / "none", tmp_path / "state") is None
    assert not (tmp_path / "state").exists()
