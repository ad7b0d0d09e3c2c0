"""Which accelerator works on this host, found out by booting the guest once.

``/dev/kvm`` and libvirt's word are not enough: in a nested or emulated machine
KVM may be offered and fail at the first instruction of the guest.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
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

_TRIAL_S = 10.0
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

    def judge(self, facts: Facts, assets: GuestAssets) -> Verdict:
        """Return the verdict for this host, from memory when nothing has changed.

        :raises HypervisorUnavailable: when libvirt goes away: nothing is learned.
        """
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return Verdict("qemu", "this host has no usable /dev/kvm, so pods run under TCG")
        if not facts.kvm:
            return Verdict("qemu", "libvirt does not offer KVM here, so pods run under TCG")
        key = f"{assets.key} {facts.hypervisor_version} {os.uname().release} {facts.cpu.model}"
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        verdict = self._trial(facts, assets)
        write_json(self._memory, {"key": key, **dataclasses.asdict(verdict)})
        return verdict

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

    def _trial(self, facts: Facts, assets: GuestAssets) -> Verdict:
        LOG.info("booting the guest once to see whether KVM works here")
        pod_id = str(uuid.uuid4())
        with tempfile.TemporaryDirectory(dir=self._runtime_dir, prefix="trial-") as directory:
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
                virt_type="kvm",
                firmware=self._firmware,
                owner=facts.owner,
            )
            try:
                self._hypervisor.launch(domain)
                session = self._guests.connect(
                    socket, True, _TRIAL_S, lambda _event: None, lambda _reason: None
                )
                session.close()
            except HypervisorUnavailable:
                raise
            except HyperError as exc:
                return Verdict(
                    "qemu",
                    "KVM is there but a guest does not boot with it, so pods run under TCG "
                    f"({exc.message})",
                )
            finally:
                self._hypervisor.destroy(pod_id)
        return Verdict("kvm", "a guest booted under KVM")
