"""Which accelerator works on this host, found out by booting the guest once.

``/dev/kvm`` and libvirt's word are not enough: in a nested or emulated machine
KVM may be offered and fail at the first instruction of the guest.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import tempfile
import uuid
from pathlib import Path

from nova_hyper.daemon.files import write_json
from nova_hyper.daemon.guest import cmdline
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.domain import Domain
from nova_hyper.daemon.hypervisor.facts import Facts
from nova_hyper.daemon.ports import Guests, Hypervisor
from nova_hyper.spec.errors import HyperError, HypervisorUnavailable

LOG = logging.getLogger(__name__)

_KVM_S = 10.0
_TCG_S = 60.0
_PREFIX = "trial-"
_TRIAL_MEMORY_MIB = 64


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``virt_type`` is libvirt's domain type (``kvm``, ``qemu``), ``reason`` one sentence."""

    virt_type: str
    reason: str


class Probe:
    """Decides between KVM and TCG; the answer is kept in *memory*, a file."""

    def __init__(
        self,
        memory: Path,
        runtime_dir: Path,
        hypervisor: Hypervisor,
        guests: Guests,
        firmware: Path | None,
    ) -> None:
        self._memory = memory
        self._runtime_dir = runtime_dir
        self._hypervisor = hypervisor
        self._guests = guests
        self._firmware = firmware
        # What a daemon that was killed in a trial has left; its domain is removed as an orphan.
        for directory in runtime_dir.glob(f"{_PREFIX}*"):
            shutil.rmtree(directory, ignore_errors=True)

    def judge(self, facts: Facts, assets: GuestAssets) -> Verdict:
        """Return the verdict for this host, from memory when nothing has changed.

        :raises HypervisorUnavailable: when libvirt goes away.
        :raises HyperError: when no guest boots here at all.

        Nothing is learned then.
        """
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return Verdict("qemu", "this host has no usable /dev/kvm, so pods run under TCG")
        if not facts.kvm:
            return Verdict("qemu", "libvirt does not offer KVM here, so pods run under TCG")
        key = f"{assets.key} {facts.hypervisor_version} {os.uname().release} {facts.cpu.model}"
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        verdict = self._try(facts, assets)
        try:
            write_json(self._memory, {"key": key, **dataclasses.asdict(verdict)})
        except OSError as exc:
            LOG.error("cannot write %s, so the next start tries again: %s", self._memory, exc)
        return verdict

    def _try(self, facts: Facts, assets: GuestAssets) -> Verdict:
        LOG.info("booting the guest once to see whether KVM works here")
        try:
            self._boot("kvm", _KVM_S, facts, assets)
        except HypervisorUnavailable:
            raise
        except HyperError as exc:
            # Whether it is KVM that fails, and not this guest or this libvirt: without it, too?
            LOG.info("KVM does not work (%s); booting the guest under TCG", exc.message)
            self._boot("qemu", _TCG_S, facts, assets)
            return Verdict(
                "qemu",
                "KVM is there but a guest boots only without it, so pods run under TCG "
                f"({exc.message})",
            )
        return Verdict("kvm", "a guest booted under KVM")

    def _remembered(self, key: str) -> Verdict | None:
        try:
            known = json.loads(self._memory.read_bytes())
            if known["key"] == key:
                return Verdict(known["virt_type"], known["reason"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            LOG.warning("%s is damaged; KVM is tried again", self._memory)
        return None

    def _boot(self, virt_type: str, timeout: float, facts: Facts, assets: GuestAssets) -> None:
        """Boot the guest up to its agent's hello, and remove it.

        :raises HyperError: when it does not come so far.
        """
        pod_id = str(uuid.uuid4())
        with tempfile.TemporaryDirectory(dir=self._runtime_dir, prefix=_PREFIX) as directory:
            os.chmod(directory, 0o711)  # noqa: S103 (QEMU runs as another user)
            socket = Path(directory, "agent.sock")
            domain = Domain(
                pod_id=pod_id,
                vcpus=1,
                memory_mib=_TRIAL_MEMORY_MIB,
                kernel=assets.kernel,
                initramfs=assets.initramfs,
                cmdline=cmdline.DEFAULT,
                agent_socket=socket,
                console_log=Path(directory, "console.log"),
                virt_type=virt_type,
                firmware=self._firmware,
                owner=facts.owner,
            )
            try:
                self._hypervisor.launch(domain)
                self._wait(pod_id, socket, timeout)
            finally:
                self._hypervisor.destroy(pod_id)

    def _wait(self, pod_id: str, socket: Path, timeout: float) -> None:
        try:
            session = self._guests.connect(
                socket, True, timeout, lambda _event: None, lambda _reason: None
            )
        except HyperError:
            if self._hypervisor.state(pod_id) is None:
                # A guest that died is still defined: libvirt came back, and we took it for an
                # orphan then.
                raise HypervisorUnavailable(
                    "libvirt was restarted while it was tried out whether KVM works; try again"
                ) from None
            raise
        session.close()
