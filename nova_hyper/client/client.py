"""The typed client of hyperd's REST API: one method per call."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nova_hyper.client.body import Body
from nova_hyper.client.calls import quote
from nova_hyper.client.console import ConsoleCalls
from nova_hyper.client.images import ImageCalls
from nova_hyper.client.power import PowerCalls
from nova_hyper.client.rescue import RescueCalls
from nova_hyper.client.session import StreamSession
from nova_hyper.client.setup import SetupCalls
from nova_hyper.client.shape import ShapeCalls
from nova_hyper.client.transport import Opened, Response, Transport
from nova_hyper.spec import codec
from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.errors import HyperError, PodNotFound, from_wire
from nova_hyper.spec.event import EventPage
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.image import Image
from nova_hyper.spec.log import LogLine, parse_line
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec
from nova_hyper.spec.stats import PodStats, Top
from nova_hyper.spec.stream import PROTOCOL, Terminal

_ERROR_STATUS = 400


class HyperClient(PowerCalls, ImageCalls, ConsoleCalls, SetupCalls, ShapeCalls, RescueCalls):
    """A client of one host's hyperd; usable by many threads at once.

    *ref* is the id or the name of a pod or image.  Every method raises the
    :class:`~nova_hyper.spec.errors.HyperError` that hyperd answered, or
    DaemonUnavailable when it does not answer.

    :param socket: path of the daemon's unix socket.
    :param request_timeout: seconds that hyperd has for one answer.
    :param connect_timeout: seconds that a call waits for a hyperd that is restarting.
    """

    def __init__(
        self, socket: str, request_timeout: float = 120.0, connect_timeout: float = 30.0
    ) -> None:
        self._transport = Transport(socket, request_timeout, connect_timeout)

    @property
    def socket(self) -> str:
        """Path of the daemon's unix socket."""
        return self._transport.path

    def version(self) -> Version:
        """Return the versions of the API and of the daemon."""
        return codec.decode(Version, self._json("GET", "/v1/version"))

    def host(self) -> Host:
        """Return the facts of the host."""
        return codec.decode(Host, self._json("GET", "/v1/host"))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document that the daemon validates requests with."""
        document: dict[str, Any] = self._json("GET", "/v1/openapi.json")
        return document

    def import_image(self, name: str, chunks: Iterable[bytes]) -> Image:
        """Import the archive that *chunks* make up, streamed, as *name*.

        What *chunks* raises is passed on, and nothing is imported.
        """
        query = urllib.parse.urlencode({"name": name})
        response = self._transport.stream(
            "POST", f"/v1/images?{query}", chunks, "application/octet-stream"
        )
        return codec.decode(Image, _parse(response))

    def images(self) -> tuple[Image, ...]:
        """Return every image of the host."""
        data = self._json("GET", "/v1/images")
        return tuple(codec.decode(Image, image) for image in data["images"])

    def image(self, ref: str) -> Image:
        """Return one image.

        :raises ImageNotFound: when the host does not have it.
        """
        return codec.decode(Image, self._json("GET", f"/v1/images/{quote(ref)}"))

    def delete_image(self, ref: str) -> None:
        """Remove an image, or one name of it.

        :raises ImageNotFound: when the host does not have it.
        :raises ImageInUse: when a pod needs it.
        """
        self._json("DELETE", f"/v1/images/{quote(ref)}")

    def import_boot_file(self, name: str, kind: BootFileKind, chunks: Iterable[bytes]) -> BootFile:
        """Keep the kernel or ramdisk that *chunks* make up, streamed, as *name*.

        What *chunks* raises is passed on, and nothing is kept.

        :raises BootFileInvalid: when it cannot be booted.
        """
        query = urllib.parse.urlencode({"name": name, "kind": kind.value})
        response = self._transport.stream(
            "POST", f"/v1/boot-files?{query}", chunks, "application/octet-stream"
        )
        return codec.decode(BootFile, _parse(response))

    def boot_files(self) -> tuple[BootFile, ...]:
        """Return every kernel and ramdisk that users have brought."""
        data = self._json("GET", "/v1/boot-files")
        return tuple(codec.decode(BootFile, file) for file in data["boot_files"])

    def boot_file(self, ref: str) -> BootFile:
        """Return one kernel or ramdisk.

        :raises BootFileNotFound: when the host does not have it.
        """
        return codec.decode(BootFile, self._json("GET", f"/v1/boot-files/{quote(ref)}"))

    def delete_boot_file(self, ref: str) -> None:
        """Remove a kernel or ramdisk, or one name of it.

        :raises BootFileNotFound: when the host does not have it.
        :raises BootFileInUse: when a pod boots it.
        """
        self._json("DELETE", f"/v1/boot-files/{quote(ref)}")

    def create_pod(self, spec: PodSpec) -> Pod:
        """Boot the sandbox of *spec* and return the pod, READY: no container runs yet.

        Nothing is left of one that fails.  The same id and spec again return
        the pod as it is.

        :raises PodExists: when the id or the name is another pod's.
        """
        return codec.decode(Pod, self._json("POST", "/v1/pods", codec.encode(spec)))

    def pods(self) -> tuple[Pod, ...]:
        """Return every pod of the host."""
        data = self._json("GET", "/v1/pods")
        return tuple(codec.decode(Pod, pod) for pod in data["pods"])

    def pod(self, ref: str) -> Pod:
        """Return one pod.

        :raises PodNotFound: when there is none.
        """
        return codec.decode(Pod, self._json("GET", f"/v1/pods/{quote(ref)}"))

    def boot_pod(
        self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None
    ) -> Pod:
        """Bring a stopped or crashed pod to READY; a pod that is up stays as it is.

        *nics* and *dns* replace those of the pod's spec.
        """
        body: dict[str, Any] = {}
        if nics is not None:
            body["nics"] = codec.encode(nics)
        if dns is not None:
            body["dns"] = codec.encode(dns)
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{quote(ref)}/boot", body))

    def start_pod(self, ref: str) -> Pod:
        """Start the containers of a pod, booting it first when it is stopped."""
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{quote(ref)}/start", {}))

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        """Stop a pod: the stop signal, *grace_s* seconds (None: hyperd's own), SIGKILL.

        *force* stops it at once.  A stopped pod stays as it is.
        """
        body = {"grace_s": grace_s, "force": force}
        data = self._json(
            "POST", f"/v1/pods/{quote(ref)}/stop", body, extra_seconds=float(grace_s or 0)
        )
        return codec.decode(Pod, data)

    def delete_pod(self, ref: str) -> None:
        """Remove a pod, also a half-made one.

        :raises PodNotFound: when there is none.
        """
        response = self._transport.request("DELETE", f"/v1/pods/{quote(ref)}")
        try:
            _parse(response)
        except PodNotFound:
            # The request that was cut before this one has removed it.
            if not response.retried:
                raise

    def console(self, ref: str, max_bytes: int) -> bytes:
        """Return the last *max_bytes* bytes of the containers' output."""
        target = f"/v1/pods/{quote(ref)}/console?max_bytes={max_bytes}"
        response = self._transport.request("GET", target)
        if response.status >= _ERROR_STATUS:
            _parse(response)
        return response.body

    def kill_pod(self, ref: str, signal: str, container: str | None = None) -> None:
        """Send a signal to the process of a container, None: of every one that runs."""
        body = {"signal": signal, "container": container}
        self._json("POST", f"/v1/pods/{quote(ref)}/kill", body)

    def stats(self, ref: str) -> PodStats:
        """Return what a running pod and its containers use."""
        return codec.decode(PodStats, self._json("GET", f"/v1/pods/{quote(ref)}/stats"))

    def top(self, ref: str, container: str | None = None) -> Top:
        """Return the processes of a container, None: of the first one."""
        query = _query(container=container)
        return codec.decode(Top, self._json("GET", f"/v1/pods/{quote(ref)}/top{query}"))

    def exec(
        self,
        ref: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        env: Sequence[str] = (),
        user: str | None = None,
        working_dir: str | None = None,
        terminal: Terminal | None = None,
        stdin: bool = False,
    ) -> StreamSession:
        """Run a command in a container and return its input and output; close it.

        What is None is as the container's own process has it.

        :raises ContainerFailed: when it cannot be started.
        """
        body = {
            "argv": list(argv),
            "container": container,
            "env": list(env),
            "user": user,
            "working_dir": working_dir,
            "tty": codec.encode(terminal),
            "stdin": stdin,
        }
        return self._session(f"/v1/pods/{quote(ref)}/exec", body)

    def attach(self, ref: str, container: str | None = None, stdin: bool = False) -> StreamSession:
        """Join the output of a container, and its input where it was made with one; close it."""
        body = {"container": container, "stdin": stdin}
        return self._session(f"/v1/pods/{quote(ref)}/attach", body)

    def logs(
        self,
        ref: str,
        *,
        container: str | None = None,
        since: float | None = None,
        tail: int | None = None,
        after: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """Return what the containers printed, line by line, and with *follow* what comes.

        *since* is Unix seconds, *tail* a number of whole lines from the end,
        *after* the position of a line to go on behind.  Closing the iterator
        hangs up.
        """
        query = _query(
            container=container,
            since=since,
            tail=tail,
            after=after,
            follow="true" if follow else None,
        )
        return _lines(self._body(f"/v1/pods/{quote(ref)}/logs{query}"))

    def read_archive(self, ref: str, path: str, container: str | None = None) -> Body:
        """Return a file or directory of a container as tar, its base name first; close it."""
        query = _query(path=path, container=container)
        return self._body(f"/v1/pods/{quote(ref)}/archive{query}")

    def write_archive(
        self, ref: str, path: str, chunks: Iterable[bytes], container: str | None = None
    ) -> None:
        """Extract the tar that *chunks* make up below the directory *path* of a container.

        What *chunks* raises is passed on.
        """
        target = f"/v1/pods/{quote(ref)}/archive{_query(path=path, container=container)}"
        _parse(self._transport.stream("PUT", target, chunks, "application/x-tar"))

    def events(self, after: int, wait: float) -> EventPage:
        """Return the events after the one numbered *after*.

        *wait* is how many seconds to wait for the first; *after* of -1 returns
        at once, with only the number to go on from.
        """
        query = urllib.parse.urlencode({"after": after, "wait": f"{wait:g}"})
        data = self._json("GET", f"/v1/events?{query}", extra_seconds=wait)
        return codec.decode(EventPage, data)

    def _session(self, target: str, body: dict[str, Any]) -> StreamSession:
        headers = {"Connection": "Upgrade", "Upgrade": PROTOCOL}
        opened = self._transport.open("POST", target, json.dumps(body).encode(), headers)
        _check(opened)
        return StreamSession(opened.sock, opened.file, opened.release)

    def _body(
        self, target: str, method: str = "GET", body: Any = None, extra_seconds: float = 0.0
    ) -> Body:
        raw = None if body is None else json.dumps(body).encode()
        opened = self._transport.open(method, target, raw, extra_seconds=extra_seconds)
        _check(opened)
        return Body(opened.file, opened.release)

    def _json(self, method: str, target: str, body: Any = None, extra_seconds: float = 0.0) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        response = self._transport.request(method, target, raw, extra_seconds=extra_seconds)
        return _parse(response)

    def _put(self, target: str, data: bytes) -> Any:
        return _parse(self._transport.request("PUT", target, data, "application/octet-stream"))


def _lines(body: Body) -> Iterator[LogLine]:
    with body:
        while raw := body.readline():
            try:
                yield parse_line(raw)
            except ValueError as exc:
                raise HyperError("hyperd sent a line that is none of a log") from exc


def _query(**values: object) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urllib.parse.urlencode(given)}" if given else ""


def _check(opened: Opened) -> None:
    """Raise the error that an answer is, if it is one."""
    if opened.status >= _ERROR_STATUS:
        opened.release()
        _parse(Response(opened.status, opened.file.read()))


def _parse(response: Response) -> Any:
    """Return the JSON of an answer.

    :raises HyperError: the one that it describes.
    """
    try:
        data = json.loads(response.body) if response.body else None
    except ValueError as exc:
        if response.status < _ERROR_STATUS:
            raise HyperError("hyperd answered with something that is not JSON") from exc
        data = None
    if response.status >= _ERROR_STATUS:
        raise from_wire(data, response.status)
    return data
