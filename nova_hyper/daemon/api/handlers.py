"""One handler for each operation of the OpenAPI document, named by its operationId.

A handler returns the HTTP status and the body: plain JSON types, bytes, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from nova_hyper import version
from nova_hyper.daemon.api.document import document
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.spec import codec
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import PodSpec

Answer = tuple[int, Any]
T = TypeVar("T")


class Upload(Protocol):
    """The body of a request, as it comes."""

    def read(self, size: int, /) -> bytes: ...


class ImageUses(Protocol):
    """The image store as the API uses it."""

    def import_archive(self, stream: Upload, name: str | None = None) -> tuple[Image, bool]: ...

    def list(self) -> list[Image]: ...

    def get(self, ref: str) -> Image: ...

    def delete(self, ref: str) -> None: ...


class Handlers:
    """The operations; see ``openapi.yaml`` for what they take and give."""

    def __init__(
        self, pods: Pods, images: ImageUses, events: EventLog, host: Callable[[int], Host]
    ) -> None:
        self._pods = pods
        self._images = images
        self._events = events
        self._host = host

    def show_openapi(self) -> Answer:
        return 200, document()

    def show_version(self) -> Answer:
        return 200, codec.encode(Version(document()["info"]["version"], version.release()))

    def show_host(self) -> Answer:
        return 200, codec.encode(self._host(len(self._pods.all())))

    def list_images(self) -> Answer:
        return 200, {"images": codec.encode(self._images.list())}

    def import_image(self, name: str | None, stream: Upload) -> Answer:
        image, made = self._images.import_archive(stream, name)
        return (201 if made else 200), codec.encode(image)

    def show_image(self, ref: str) -> Answer:
        return 200, codec.encode(self._images.get(ref))

    def delete_image(self, ref: str) -> Answer:
        self._images.delete(ref)
        return 204, None

    def list_pods(self) -> Answer:
        return 200, {"pods": codec.encode(self._pods.all())}

    def create_pod(self, body: dict[str, Any]) -> Answer:
        pod, made = self._pods.create(_decode(PodSpec, body))
        return (201 if made else 200), codec.encode(pod)

    def show_pod(self, ref: str) -> Answer:
        return 200, codec.encode(self._pods.get(ref))

    def delete_pod(self, ref: str) -> Answer:
        self._pods.delete(ref)
        return 204, None

    def boot_pod(self, ref: str, body: dict[str, Any]) -> Answer:
        nics = tuple(_decode(Nic, nic) for nic in body["nics"]) if "nics" in body else None
        dns = _decode(Dns, body["dns"]) if "dns" in body else None
        return 200, codec.encode(self._pods.boot(ref, nics, dns))

    def start_pod(self, ref: str) -> Answer:
        return 200, codec.encode(self._pods.start(ref))

    def stop_pod(self, ref: str, body: dict[str, Any]) -> Answer:
        pod = self._pods.stop(ref, body.get("grace_s"), bool(body.get("force", False)))
        return 200, codec.encode(pod)

    def read_console(self, ref: str, max_bytes: int) -> Answer:
        return 200, self._pods.console(ref, max_bytes)

    def read_events(self, after: int, wait: float) -> Answer:
        return 200, codec.encode(self._events.after(after, wait))


def _decode(cls: type[T], body: Any) -> T:
    """Return the *cls* of a body that fits the document, which leaves room: 1.0 is an integer."""
    try:
        return codec.decode(cls, body)
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from None
