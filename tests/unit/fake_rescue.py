"""Rescue of the pods of a hyperd in memory."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_hyper.spec.container import Container, ContainerState, ContainerStatus
from nova_hyper.spec.errors import Conflict
from nova_hyper.spec.pod import Pod, PodState, Rescued


def image_ids_of(pod: Pod) -> set[str]:
    """The images that a pod needs."""
    rescued = pod.rescued.containers if pod.rescued is not None else ()
    return {c.image_id for c in (*pod.containers, *rescued)}


class FakeRescue:
    """As hyperd, without disks."""

    _called: Any
    _update: Any
    pod: Any
    image: Any

    def rescue_pod(self, ref: str, image: str | None = None) -> Pod:
        self._called("rescue_pod")
        pod = self.pod(ref)
        rescued = pod.rescued or Rescued(pod.spec, pod.containers)
        found = self.image(image or rescued.containers[0].image_id)
        if pod.rescued is not None and pod.containers[0].image_id == found.id:
            return pod
        self._require_down(pod)
        if not rescued.spec.root_gib:
            raise Conflict(f"pod {pod.spec.name} has its root in memory")
        name = image or rescued.containers[0].image
        spec = dataclasses.replace(
            pod.spec, containers=(Container("rescue", name),), root_gib=0, volumes=()
        )
        status = ContainerStatus("rescue", name, found.id, ContainerState.CREATED)
        return self._update(
            pod, spec=spec, state=PodState.STOPPED, containers=(status,), rescued=rescued
        )

    def unrescue_pod(self, ref: str) -> Pod:
        self._called("unrescue_pod")
        pod = self.pod(ref)
        if pod.rescued is None:
            return pod
        self._require_down(pod)
        spec = pod.rescued.spec.replaced(pod.spec.nics, pod.spec.dns)
        containers = pod.rescued.containers
        return self._update(
            pod, spec=spec, state=PodState.STOPPED, containers=containers, rescued=None
        )

    @staticmethod
    def _require_down(pod: Pod) -> None:
        if pod.state not in (PodState.STOPPED, PodState.CRASHED):
            raise Conflict(f"pod {pod.spec.name} is {pod.state}: stop it first")
