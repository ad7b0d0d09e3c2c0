"""Swap areas, as the kernel's and util-linux's tools see them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from nova_hyper.daemon import swap
from nova_hyper.daemon.disks import Disks
from nova_hyper.spec.errors import DiskFull


def test_the_header_has_the_signature_at_the_end_of_the_first_page():
    page = swap.header(1 << 20)
    assert len(page) == swap.PAGE
    assert page.endswith(b"SWAPSPACE2")
    assert int.from_bytes(page[1024:1028], "little") == 1
    assert int.from_bytes(page[1028:1032], "little") == 255  # the last page


def test_each_area_has_an_identity_of_its_own():
    assert swap.header(1 << 20) != swap.header(1 << 20)


def test_too_small_an_area_is_refused():
    with pytest.raises(ValueError, match="too few"):
        swap.header(9 * swap.PAGE)


@pytest.mark.skipif(not shutil.which("blkid"), reason="util-linux")
def test_tools_take_it_for_swap(tmp_path):
    path = tmp_path / "swap.img"
    Disks().create_swap(path, 64, "")
    assert path.stat().st_size == 64 << 20
    assert path.stat().st_blocks * 512 <= 64 << 10
    told = subprocess.run(["blkid", "-p", path], capture_output=True, text=True, check=True)
    assert 'TYPE="swap"' in told.stdout


def test_nothing_is_left_of_one_that_does_not_fit(tmp_path, monkeypatch):
    def full(_size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(swap, "header", full)
    path = tmp_path / "swap.img"
    with pytest.raises(DiskFull, match="64 MiB"):
        Disks().create_swap(path, 64, "")
    assert not path.exists()
