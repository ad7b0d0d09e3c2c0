"""One handler for each operation of the OpenAPI document, named by its operationId.

A handler returns the HTTP status and the body: plain JSON types, JSON itself, bytes, or None.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from nova_hyper import version
from nova_hyper.daemon.api import bodies
from nova_hyper.daemon.api.connection import Upload
from nova_hyper.daemon.api.console_handlers import ConsoleHandlers
from nova_hyper.daemon.api.document import document
from nova_hyper.daemon.api.image_handlers import ImageHandlers, ImageUses
from nova_hyper.daemon.api.power_handlers import PowerHandlers
from nova_hyper.daemon.api.rescue_handlers import RescueHandlers
from nova_hyper.daemon.api.setup_handlers import SetupHandlers
from nova_hyper.daemon.api.shape_handlers import ShapeHandlers
from nova_hyper.daemon.console.consoles import Consoles
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.pods.power import Power
from nova_hyper.daemon.pods.rescue import Rescues
from nova_hyper.daemon.pods.reshaping import Reshaping
from nova_hyper.daemon.pods.restorepoint import RestorePoints
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.pods.sessions import Sessions
from nova_hyper.daemon.pods.setup import Setups
from nova_hyper.spec import codec
from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.pod import Pod, PodSpec
from nova_hyper.spec.usage import DiskUsage

Answer = tuple[int, Any]


class BootFileUses(Protocol):
    """The store of kernels and ramdisks as the API uses it."""

    def add(self, source: Upload, name: str, kind: BootFileKind) -> tuple[BootFile, bool]: ...

    def list(self) -> list[BootFile]: ...

    def get(self, ref: str) -> BootFile: ...

    def delete(self, ref: str) -> None: ...


class Json(str):
    """A body that is JSON already."""


class Handlers(
    PowerHandlers, ShapeHandlers, ImageHandlers, ConsoleHandlers, SetupHandlers, RescueHandlers
):
    """The operations; see ``openapi.yaml`` for what they take and give."""

    def __init__(
        self,
        pods: Pods,
        sessions: Sessions,
        images: ImageUses,
        events: EventLog,
        host: Callable[[int], Host],
        power: Power,
        boot_files: BootFileUses,
        usage: Callable[[], DiskUsage],
        consoles: Consoles,
        setups: Setups,
        reshaping: Reshaping,
        restore_points: RestorePoints,
        rescues: Rescues,
    ) -> None:
        PowerHandlers.__init__(self, power)
        ConsoleHandlers.__init__(self, consoles)
        ShapeHandlers.__init__(self, reshaping, restore_points)
        RescueHandlers.__init__(self, rescues)
        ImageHandlers.__init__(self, images, usage)
        SetupHandlers.__init__(self, setups)
        self._pods = pods
        self._sessions = sessions
        self._events = events
        self._host = host
        self._boot_files = boot_files
        self._encoded: dict[str, tuple[Pod, str]] = {}

    def show_openapi(self) -> Answer:
        return 200, document()

    def show_version(self) -> Answer:
        return 200, codec.encode(Version(document()["info"]["version"], version.release()))

    def show_host(self) -> Answer:
        return 200, codec.encode(self._host(len(self._pods.all())))

    def list_boot_files(self) -> Answer:
        return 200, {"boot_files": codec.encode(self._boot_files.list())}

    def import_boot_file(self, name: str, kind: str, stream: Upload) -> Answer:
        file, made = self._boot_files.add(stream, name, BootFileKind(kind))
        return (201 if made else 200), codec.encode(file)

    def show_boot_file(self, ref: str) -> Answer:
        return 200, codec.encode(self._boot_files.get(ref))

    def delete_boot_file(self, ref: str) -> Answer:
        self._boot_files.delete(ref)
        return 204, None

    def list_pods(self) -> Answer:
        # A pod is replaced as a whole when anything in it changes, and most have not changed.
        known, encoded = self._encoded, {}
        for pod in self._pods.all():
            before = known.get(pod.spec.id)
            if before is None or before[0] is not pod:
                before = (pod, json.dumps(codec.encode(pod)))
            encoded[pod.spec.id] = before
        self._encoded = encoded
        return 200, Json(f'{{"pods": [{", ".join(text for _pod, text in encoded.values())}]}}')

    def create_pod(self, body: dict[str, Any]) -> Answer:
        pod, made = self._pods.create(bodies.decode(PodSpec, body))
        return (201 if made else 200), codec.encode(pod)

    def show_pod(self, ref: str) -> Answer:
        return 200, codec.encode(self._pods.get(ref))

    def delete_pod(self, ref: str) -> Answer:
        self._pods.delete(ref)
        return 204, None

    def boot_pod(self, ref: str, body: dict[str, Any]) -> Answer:
        nics, dns = bodies.network(body)
        return 200, codec.encode(self._pods.boot(ref, nics, dns))

    def start_pod(self, ref: str) -> Answer:
        return 200, codec.encode(self._pods.start(ref))

    def stop_pod(self, ref: str, body: dict[str, Any]) -> Answer:
        pod = self._pods.stop(ref, body.get("grace_s"), bool(body.get("force", False)))
        return 200, codec.encode(pod)

    def read_console(self, ref: str, max_bytes: int) -> Answer:
        return 200, self._pods.console(ref, max_bytes)

    def kill_pod(self, ref: str, body: dict[str, Any]) -> Answer:
        self._sessions.kill(ref, body.get("container"), body["signal"])
        return 204, None

    def read_stats(self, ref: str) -> Answer:
        return 200, codec.encode(self._sessions.stats(ref))

    def read_top(self, ref: str, container: str | None) -> Answer:
        return 200, codec.encode(self._sessions.top(ref, container))

    def read_events(self, after: int, wait: float) -> Answer:
        return 200, codec.encode(self._events.after(after, wait))
