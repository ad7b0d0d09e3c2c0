"""A pod's container as a new image: its own image, and a layer of what it has written.

What a guest has written is read by the guest: a running one's agent, or that of
a micro-VM that is booted for nothing else (:mod:`.helper`).  The host only sees
a stream, and treats it as any layer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from nova_hyper.daemon.pods.helper import Helpers
from nova_hyper.daemon.pods.launch import ROOT_LABEL
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.pods.sessions import Sessions
from nova_hyper.daemon.ports import GuestStream
from nova_hyper.spec.errors import Conflict, GuestFailed
from nova_hyper.spec.image import Image
from nova_hyper.spec.pod import PodState

LOG = logging.getLogger(__name__)

# An agent that reads a large layer sends all the time; one that does not for so long is stuck.
_SILENCE_S = 60.0


class Archive(Protocol):
    """An archive as it is made; ``close`` lets what it is made of go."""

    @property
    def chunks(self) -> Iterator[bytes]: ...

    @property
    def close(self) -> Callable[[], None]: ...


class CommitImages(Protocol):
    """The image store as commits use it."""

    def commit(
        self,
        base_image_id: str,
        chunks: Iterable[bytes],
        name: str | None = None,
        changes: tuple[str, ...] = (),
    ) -> Image: ...

    def snapshot(
        self, base_image_id: str, chunks: Iterable[bytes], changes: tuple[str, ...] = ()
    ) -> Archive: ...


class Commits:
    """Makes images of containers.

    Both ways read a running container by its agent, which stands still
    meanwhile where *freeze* is True, and one of a pod that does not run by a
    helper; its volumes are no part of it.  *changes* are of the image's
    execution parameters, as ``docker commit --change`` takes them.  What
    *gone* finds true, now and then, ends it.
    """

    def __init__(
        self, pods: Pods, sessions: Sessions, helpers: Helpers, images: CommitImages
    ) -> None:
        self._pods = pods
        self._sessions = sessions
        self._helpers = helpers
        self._images = images

    def commit(
        self,
        ref: str,
        container: str | None,
        name: str | None,
        changes: tuple[str, ...],
        freeze: bool,
        gone: Callable[[], bool] = lambda: False,
    ) -> Image:
        """Return the new image, called *name* when given.

        :raises Conflict: for a pod that has nothing to give: what it wrote is in
            memory, which is gone or stands still.
        :raises GuestFailed: when the guest does not deliver; there is no image then.
        """
        with self._layer(ref, container, freeze, gone) as (base, chunks):
            image = self._images.commit(base, chunks, name, changes)
        LOG.info("a container of pod %s is image %s", ref, image.id)
        return image

    def snapshot(
        self,
        ref: str,
        container: str | None,
        changes: tuple[str, ...],
        freeze: bool,
        gone: Callable[[], bool] = lambda: False,
    ) -> Archive:
        """Return the docker archive of the image, which is not kept here; the pod runs on.

        The image may be booted with the disk that the pod has, however much it unpacks to.

        :raises HyperError: as :meth:`commit`.
        """
        root_gib = self._pods.get(ref).spec.root_gib
        if root_gib:
            changes = (*changes, f"LABEL {ROOT_LABEL}={root_gib}")
        with self._layer(ref, container, freeze, gone) as (base, chunks):
            return self._images.snapshot(base, chunks, changes)

    @contextlib.contextmanager
    def _layer(
        self, ref: str, container: str | None, freeze: bool, gone: Callable[[], bool]
    ) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Give the image of a container, and the layer of what it has written."""

        def tick() -> None:
            if gone():
                raise Conflict(f"nobody waits for the image of pod {ref} any more")

        pod = self._pods.get(ref)
        wanted = container or pod.spec.containers[0].name
        with contextlib.ExitStack() as stack:
            if pod.state is PodState.RUNNING:
                stream = self._sessions.export(pod.spec.id, wanted, freeze)
            else:
                helper = stack.enter_context(self._helpers.of(pod.spec.id, tick))
                stream = self._sessions.export_of(helper, wanted)
            stack.enter_context(contextlib.closing(stream))
            base = next(c.image_id for c in pod.containers if c.name == wanted)
            yield base, _chunks(stream, tick)


def _chunks(stream: GuestStream, tick: Callable[[], None]) -> Iterator[bytes]:
    """Return the layer as the guest sends it.

    :raises GuestFailed: when it does not end well.
    """
    complaint = b""
    try:
        while (piece := stream.read(_SILENCE_S)) is not None:
            tick()
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
