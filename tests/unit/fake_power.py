"""Power states of the pods of a hyperd in memory."""

from __future__ import annotations

from typing import Any

from nova_hyper.spec.diagnostics import CpuTime, Diagnostics, DiskCount, Memory, NicCount
from nova_hyper.spec.errors import Conflict, PodPaused
from nova_hyper.spec.event import EventKind
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodState


class FakePower:
    """As hyperd, without memory to save."""

    _called: Any
    _update: Any
    pod: Any

    def _require_running(self, pod: Pod) -> None:
        if pod.state is PodState.PAUSED:
            raise PodPaused(f"pod {pod.spec.name} is paused; unpause it first")
        if pod.state is not PodState.RUNNING:
            raise Conflict(f"pod {pod.spec.name} does not run (it is {pod.state})")

    def pause_pod(self, ref: str) -> Pod:
        self._called("pause_pod")
        pod = self.pod(ref)
        if pod.state is PodState.PAUSED:
            return pod
        self._require_running(pod)
        return self._update(pod, EventKind.PAUSED, state=PodState.PAUSED)

    def unpause_pod(self, ref: str) -> Pod:
        self._called("unpause_pod")
        pod = self.pod(ref)
        if pod.state is PodState.RUNNING:
            return pod
        if pod.state is not PodState.PAUSED:
            raise Conflict(f"pod {ref} is not paused (it is {pod.state})")
        return self._update(pod, EventKind.UNPAUSED, state=PodState.RUNNING)

    def suspend_pod(self, ref: str) -> Pod:
        self._called("suspend_pod")
        pod = self.pod(ref)
        if pod.state is PodState.SUSPENDED:
            return pod
        self._require_running(pod)
        return self._update(pod, EventKind.SUSPENDED, state=PodState.SUSPENDED, qemu_pid=None)

    def resume_pod(
        self,
        ref: str,
        nics: tuple[Nic, ...] | None = None,
        dns: Dns | None = None,
        paused: bool = False,
    ) -> Pod:
        self._called("resume_pod")
        pod = self.pod(ref)
        if pod.state is PodState.RUNNING:
            return pod
        if pod.state not in (PodState.SUSPENDED, PodState.PAUSED):
            raise Conflict(f"pod {ref} is not suspended (it is {pod.state})")
        if pod.state is PodState.SUSPENDED:
            spec = pod.spec.replaced(nics, dns)
            pod = self._update(pod, spec=spec, state=PodState.PAUSED, qemu_pid=4244)
        if paused:
            return pod
        return self._update(pod, EventKind.RESUMED, state=PodState.RUNNING)

    def crash_pod(self, ref: str) -> Pod:
        self._called("crash_pod")
        pod = self.pod(ref)
        self._require_running(pod)
        return pod

    def diagnostics(self, ref: str) -> Diagnostics:
        self._called("diagnostics")
        pod = self.pod(ref)
        if pod.state not in (PodState.READY, PodState.RUNNING, PodState.PAUSED):
            raise Conflict(f"pod {ref} is not up (it is {pod.state})")
        return Diagnostics(
            cpus=(CpuTime(0, 5_000_000),),
            memory=Memory(maximum_mib=64, used_mib=20, resident_mib=90),
            disks=(DiskCount("l0", 4096, 1, 0, 0),),
            nics=tuple(NicCount(n.mac, 100, 1, 0, 0, 200, 2, 0, 0) for n in pod.spec.nics),
        )
