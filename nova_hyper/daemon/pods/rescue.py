"""Rescue: another image boots in a pod's place, with the pod's own disks mounted in it.

A rescue is a pod as any other, with the id, the interfaces and the size of the
one that it repairs, one container, and its root in memory.  So there is nothing
to make and nothing to remove but the record, which says both what runs and what
it stands for, and is written before anything acts on it.
"""

from __future__ import annotations

import dataclasses
import logging

from nova_hyper.daemon.pods import launch, outcome, rescue_mounts
from nova_hyper.daemon.pods.layout import Original
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Settings
from nova_hyper.daemon.pods.service import UP, Pods
from nova_hyper.daemon.ports import Images, Platform
from nova_hyper.spec.boot import Boot
from nova_hyper.spec.container import Container, ContainerState, ContainerStatus
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import Conflict, HyperError, ImageUnsuitable
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import Pod, PodSpec, PodState, Rescued, RestartPolicy

LOG = logging.getLogger(__name__)

CONTAINER = "rescue"
_EPHEMERAL = "/mnt/ephemeral"
_MAX_MOUNTS = 64  # of a container, by the agent


def spec_of(original: PodSpec, image: str) -> PodSpec:
    """Return the pod that boots *image* in place of *original*.

    It boots the host's own kernel, since that of *original* may be what is
    broken, and has its ephemeral disks and swap.  It can be talked to as its
    first container.
    """
    first = original.containers[0]
    return dataclasses.replace(
        original,
        containers=(Container(CONTAINER, image, stdin=first.stdin, tty=first.tty),),
        init_containers=(),
        volumes=(),
        root_gib=0,
        restart_policy=RestartPolicy.NEVER,
        termination_grace_s=None,
        sysctls={},
        host_aliases=(),
        ephemerals=tuple(
            EphemeralDisk(disk.size_gib, f"{_EPHEMERAL}{index}")
            for index, disk in enumerate(original.ephemerals)
        ),
        boot=Boot(),
    )


class Rescues:
    """Puts pods that are down into rescue, and takes them out of it.

    Every method may be called by any thread and is idempotent; all of them
    raise PodNotFound, and Conflict for a pod that is in no state for it.
    """

    def __init__(
        self,
        pods: Pods,
        repository: Repository,
        images: Images,
        platform: Platform,
        settings: Settings,
    ) -> None:
        self._pods = pods
        self._repository = repository
        self._images = images
        self._platform = platform
        self._settings = settings

    def rescue(self, ref: str, image_ref: str | None = None) -> Pod:
        """Have *image_ref* boot in place of a stopped pod from its next start.

        Without, it is the image of its first container.  A pod that is in
        rescue already can be given another image.

        :raises Conflict: for a pod that is up, or has its root in memory.
        :raises ImageNotFound: when there is no such image.
        :raises HyperError: as for a new pod of that image; it stays as it was.
        """
        with self._pods.holding(ref) as entry:
            pod = entry.pod
            rescued = pod.rescued or Rescued(pod.spec, pod.containers)
            name, image = self._image(rescued, image_ref)
            if pod.rescued is not None and pod.containers[0].image_id == image.id:
                return pod
            _require_down(pod, "rescued")
            if not rescued.spec.root_gib:
                raise Conflict(
                    f"pod {pod.spec.name} has its root in memory, of which nothing is left to "
                    "rescue once it is stopped"
                )
            spec = spec_of(rescued.spec.replaced(pod.spec.nics, pod.spec.dns), name)
            images = [self._images.get(c.image_id) for c in rescued.containers]
            original = Original(rescued.spec, images)
            launch.check(
                spec,
                [image],
                arch=self._platform.arch(),
                memory=(self._settings.min_memory_mib, self._platform.memory_mib()),
                original=original,
            )
            _check_mounts(spec, original)
            self._images.acquire(image.id, entry.id)
            status = ContainerStatus(CONTAINER, name, image.id, ContainerState.CREATED)
            self._change(entry, spec, (status,), rescued)
            LOG.info("pod %s (%s) is in rescue with image %s", entry.id, spec.name, name)
            return entry.pod

    def unrescue(self, ref: str) -> Pod:
        """Have a stopped pod that is in rescue be itself again from its next start.

        One that is not in rescue stays as it is.

        :raises Conflict: for a rescue that is up.
        """
        with self._pods.holding(ref) as entry:
            rescued = entry.pod.rescued
            if rescued is None:
                return entry.pod
            _require_down(entry.pod, "taken out of rescue")
            spec = rescued.spec.replaced(entry.pod.spec.nics, entry.pod.spec.dns)
            self._change(entry, spec, rescued.containers, None)
            LOG.info("pod %s (%s) is out of rescue", entry.id, spec.name)
            return entry.pod

    def _image(self, rescued: Rescued, ref: str | None) -> tuple[str, Image]:
        """Return the image of a rescue, and how it is called."""
        if ref is not None:
            return ref, self._images.get(ref)
        own = rescued.containers[len(rescued.spec.init_containers)]
        return own.image, self._images.get(own.image_id)

    def _change(
        self,
        entry: Entry,
        spec: PodSpec,
        containers: tuple[ContainerStatus, ...],
        rescued: Rescued | None,
    ) -> None:
        before = entry.pod
        entry.update(
            spec=spec,
            state=PodState.STOPPED,
            containers=containers,
            exit_code=None if rescued else outcome.exit_code(containers),
            message="in rescue" if rescued else "taken out of rescue",
            timeline=(),
            rescued=rescued,
        )
        try:
            self._repository.save(entry.pod)
        except BaseException:
            entry.pod = before
            raise
        finally:
            self._let_go(entry)

    def _let_go(self, entry: Entry) -> None:
        """Release the images that the pod does not need any more."""
        try:
            self._images.narrow(entry.id, needed_images(entry.pod))
        except (HyperError, OSError) as exc:
            # The next start of the daemon does it. A full disk must not keep a pod in rescue.
            LOG.warning("pod %s keeps an image that it does not need: %s", entry.id, exc)


def needed_images(pod: Pod) -> set[str]:
    """Return the ids of the images that *pod* needs, in rescue also those of what it repairs."""
    rescued = pod.rescued.containers if pod.rescued is not None else ()
    return {c.image_id for c in (*pod.containers, *rescued)}


def _require_down(pod: Pod, what: str) -> None:
    if pod.state in UP:
        raise Conflict(f"pod {pod.spec.name} is {pod.state}: stop it before it is {what}")
    if pod.state is PodState.SUSPENDED:
        raise Conflict(f"pod {pod.spec.name} is suspended: resume and stop it before it is {what}")


def _check_mounts(spec: PodSpec, original: Original) -> None:
    count = rescue_mounts.count(original)
    if count > _MAX_MOUNTS:
        raise ImageUnsuitable(
            f"the containers of pod {spec.name} have {count} roots and volumes, more than the "
            f"{_MAX_MOUNTS} that a rescue can have mounted"
        )
