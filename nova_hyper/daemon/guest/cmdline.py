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
        # Nothing but a request for a crash dump sends one.
        "unknown_nmi_panic",
        # The IO-APIC of QEMU works; testing its timer takes 40 ms of every boot under TCG.
        "no_timer_check",
        # A container's limit is for its own memory. Accounting the kernel's takes 4 MiB at once
        # in a guest with one CPU.
        "cgroup.memory=nokmem",
        # 100 KiB less for each disk; a pod has one for each layer.
        "virtio_blk.queue_depth=64",
    )
)
"""What every pod's kernel is started with."""
