"""The guest kernel's command line."""

from __future__ import annotations

DEFAULT = " ".join(
    (
        "console=hvc0",
        # Only a panic reaches the console, which is the containers' own.
        "loglevel=1",
        # A panic ends QEMU: pvpanic has told it before.
        "panic=-1",
        "oops=panic",
        # The IO-APIC of QEMU works; testing its timer takes 40 ms of every boot under TCG.
        "no_timer_check",
    )
)
"""What every pod's kernel is started with."""
