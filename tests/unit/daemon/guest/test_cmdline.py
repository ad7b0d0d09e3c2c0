from __future__ import annotations

from nova_hyper.daemon.guest import cmdline


def test_a_panic_ends_the_guest_and_reaches_its_console() -> None:
    words = cmdline.DEFAULT.split()
    assert "console=hvc0" in words
    assert "panic=-1" in words
