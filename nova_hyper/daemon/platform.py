"""The host as pods and clients see it."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.facts import Facts
from nova_hyper.daemon.hypervisor.probe import Verdict
from nova_hyper.spec.errors import GuestMissing, HyperError, HypervisorUnavailable
from nova_hyper.spec.host import Host

LOG = logging.getLogger(__name__)

_GIB = 1024**3
_KIB = 1024
_AGAIN_S = 60.0
# Beside the guest's own memory: QEMU's heap and devices, and under TCG the translated code.
_OVERHEAD_MIB = {"kvm": 24, "qemu": 96}
# As container images and Go name architectures.
_IMAGE_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


class HostPlatform:
    """Facts of this host; those of libvirt are read once a connection."""

    def __init__(
        self,
        read_facts: Callable[[], Facts],
        judge: Callable[[Facts], Verdict],
        assets: Callable[[], GuestAssets],
        state_dir: Path,
        overhead_mib: int,
        min_memory_mib: int,
    ) -> None:
        self._read_facts = read_facts
        self._judge = judge
        self._assets = assets
        self._state_dir = state_dir
        self._overhead_mib = overhead_mib
        self._min_memory_mib = min_memory_mib
        self._lock = threading.Lock()
        # Of its own: a trial boot takes seconds, which facts must not wait for.
        self._judging = threading.Lock()
        self._facts: Facts | None = None
        self._verdict: Verdict | None = None
        self._failed: tuple[float, HyperError] | None = None

    def facts(self) -> Facts:
        """Return what libvirt says of the host.

        :raises HypervisorUnavailable: when libvirt is away and never was there.
        """
        with self._lock:
            if self._facts is None:
                self._facts = self._read_facts()
            return self._facts

    def refresh(self) -> None:
        """Read the facts anew: libvirt was restarted, perhaps upgraded."""
        facts = self._read_facts()
        with self._lock:
            if facts != self._facts:
                self._facts, self._verdict = facts, None

    def verdict(self) -> Verdict:
        """Return which accelerator works here, trying it out when nobody has.

        :raises HyperError: when it cannot be tried now (no guest, no libvirt).
        """
        with self._judging:
            facts, verdict = self.facts(), self._verdict
            if verdict is None:
                verdict = self._try(facts)
                LOG.info("virt_type is %s: %s", verdict.virt_type, verdict.reason)
                with self._lock:
                    if facts == self._facts:
                        self._verdict = verdict
            return verdict

    def _try(self, facts: Facts) -> Verdict:
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise type(self._failed[1])(self._failed[1].message)
        try:
            return self._judge(facts)
        except (GuestMissing, HypervisorUnavailable):
            raise
        except HyperError as exc:
            # It took a guest many seconds not to boot: not again for every question.
            self._failed = (time.monotonic() + _AGAIN_S, exc)
            raise

    def virt_type(self) -> str:
        return self.verdict().virt_type

    def owner(self) -> str:
        return self.facts().owner

    def memory_mib(self) -> int:
        # Not libvirt's figure, which is of the NUMA cells and leaves out what was added later.
        return _meminfo()["MemTotal"] // _KIB

    def arch(self) -> str:
        machine = os.uname().machine
        return _IMAGE_ARCH.get(machine, machine)

    def describe(self, pods: int) -> Host:
        """Return the facts for clients; *pods* is how many there are.

        :raises HypervisorUnavailable: when libvirt is away, and never was there or
            is needed to find out the accelerator.
        """
        facts = self.facts()
        disk = shutil.disk_usage(self._state_dir)
        kernel = agent = ""
        try:
            verdict = self.verdict()
            assets = self._assets()
            kernel, agent = assets.kernel_version, assets.agent_version
        except HypervisorUnavailable:
            raise
        except HyperError as exc:
            verdict = Verdict("qemu", exc.message)
        overhead = self._overhead_mib or _OVERHEAD_MIB[verdict.virt_type]
        return Host(
            hostname=socket.gethostname(),
            uptime_s=int(time.clock_gettime(time.CLOCK_BOOTTIME)),
            cpu=facts.cpu,
            vcpus=facts.vcpus,
            memory_mib=self.memory_mib(),
            memory_used_mib=_memory_used_mib(),
            disk_gib=disk.total // _GIB,
            disk_free_gib=disk.free // _GIB,
            disk_used_gib=disk.used // _GIB,
            virt_type=verdict.virt_type,
            virt_reason=verdict.reason,
            hypervisor_version=facts.hypervisor_version,
            libvirt_version=facts.libvirt_version,
            pod_overhead_mib=overhead,
            min_memory_mib=self._min_memory_mib,
            guest_kernel=kernel,
            guest_agent=agent,
            state_dir=str(self._state_dir),
            pods=pods,
        )


def _memory_used_mib() -> int:
    """Return the memory in use as ``free`` counts it: all but what is available."""
    values = _meminfo()
    return (values["MemTotal"] - values["MemAvailable"]) // _KIB


def _meminfo(path: Path = Path("/proc/meminfo")) -> dict[str, int]:
    """Return the kernel's memory figures, in KiB; see proc(5)."""
    fields = (line.partition(":") for line in path.read_text().splitlines())
    return {key: int(value.split()[0]) for key, _, value in fields}
