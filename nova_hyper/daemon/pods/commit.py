"""A pod's container as a new image: its own image, and a layer of what it has written.

What a guest has written is read by the guest: a running one's agent, or that of
a micro-VM that is booted on a stopped pod's disks for nothing else.  The host
only sees a stream, and treats it as any layer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Protocol

from nova_hyper.daemon import plan
from nova_hyper.daemon.pods.registry import Entry
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.pods.sessions import Sessions
from nova_hyper.daemon.ports import GuestStream
from nova_hyper.spec.errors import Conflict, GuestFailed, HyperError
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns
from nova_hyper.spec.pod import Pod, PodState

LOG = logging.getLogger(__name__)

# An agent that reads a large layer sends all the time; one that does not for so long is stuck.
_SILENCE_S = 60.0


class CommitImages(Protocol):
    """The image store as commits use it."""

    def get(self, ref: str) -> Image: ...

    def commit(
        self,
        base_image_id: str,
        chunks: Iterable[bytes],
        name: str | None = None,
        changes: tuple[str, ...] = (),
    ) -> Image: ...


class Commits:
    """Makes images of containers."""

    def __init__(
        self, pods: Pods, sessions: Sessions, sandboxes: Sandboxes, images: CommitImages
    ) -> None:
        self._pods = pods
        self._sessions = sessions
        self._sandboxes = sandboxes
        self._images = images

    def commit(
        self,
        ref: str,
        container: str | None,
        name: str | None,
        changes: tuple[str, ...],
        freeze: bool,
    ) -> Image:
        """Return the new image, called *name* when given.

        A running container stands still meanwhile where *freeze* is True.  Its
        volumes are no part of the image.  *changes* are of the image's
        execution parameters, as ``docker commit --change`` takes them.

        :raises Conflict: for a pod that has nothing to give: it was stopped and
            had its writable layer in memory, or is paused or suspended.
        :raises GuestFailed: when the guest does not deliver; there is no image then.
        """
        pod = self._pods.get(ref)
        wanted = container or pod.spec.containers[0].name
        if pod.state is PodState.RUNNING:
            stream = self._sessions.export(pod.spec.id, wanted, freeze)
            return self._store(pod, wanted, stream, name, changes)
        with self._pods.holding(pod.spec.id) as entry:
            _require_disk(entry)
            with self._helper(entry) as helper:
                stream = self._sessions.export_of(helper, wanted)
                return self._store(pod, wanted, stream, name, changes)

    def _store(
        self,
        pod: Pod,
        container: str,
        stream: GuestStream,
        name: str | None,
        changes: tuple[str, ...],
    ) -> Image:
        with contextlib.closing(stream):
            base = next(c.image_id for c in pod.containers if c.name == container)
            image = self._images.commit(base, _chunks(stream), name, changes)
        LOG.info("container %s of pod %s is image %s", container, pod.spec.id, image.id)
        return image

    @contextlib.contextmanager
    def _helper(self, entry: Entry) -> Iterator[Entry]:
        """Give a micro-VM on the disks of a stopped pod, without interfaces; no container runs.

        The pod's lock is held.  A daemon that is killed here leaves a domain
        of a pod that is stopped, which the next one removes.
        """
        spec = entry.pod.spec.replaced(nics=(), dns=Dns())
        helper = Entry(dataclasses.replace(entry.pod, spec=spec, state=PodState.READY))
        images = [self._images.get(c.image_id) for c in entry.pod.containers]
        try:
            plan.run(self._sandboxes.boot_steps(helper, images), lambda _step: None)
            yield helper
        except BaseException:
            with contextlib.suppress(HyperError):
                self._sandboxes.destroy(helper)
            raise
        # The journal of its disk is written: the next boot finds nothing to do.
        self._sandboxes.shut_down(helper, 0)


def _require_disk(entry: Entry) -> None:
    pod = entry.pod
    name = pod.spec.name
    if pod.state in (PodState.STOPPED, PodState.CRASHED):
        if pod.spec.root_gib:
            return
        raise Conflict(
            f"pod {name} had what it wrote in memory, which ended with it: commit it while it "
            "runs, or give it a disk"
        )
    way = {PodState.PAUSED: "unpause it first", PodState.SUSPENDED: "resume it first"}
    raise Conflict(
        f"pod {name} cannot be committed while it is {pod.state}; "
        f"{way.get(pod.state, 'start it, or wait')}"
    )


def _chunks(stream: GuestStream) -> Iterator[bytes]:
    """Return the layer as the guest sends it.

    :raises GuestFailed: when it does not end well.
    """
    complaint = b""
    try:
        while (piece := stream.read(_SILENCE_S)) is not None:
            channel, data = piece
            if channel == 0:
                yield data
            else:
                complaint = (complaint + data)[:1024]
    except TimeoutError:
        raise GuestFailed(
            f"the guest stopped in the middle of its layer, for {_SILENCE_S:g} s"
        ) from None
    if stream.error or stream.exit_code:
        reason = stream.error or complaint.decode(errors="replace").strip()
        raise GuestFailed(f"the guest could not read its layer: {reason or 'it does not say why'}")
