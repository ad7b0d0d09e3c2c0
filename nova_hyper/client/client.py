"""The typed client of hyperd's REST API: one method per call."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

from nova_hyper.client.transport import Response, Transport
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError, PodNotFound, from_wire
from nova_hyper.spec.event import EventPage
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.image import Image
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec

_ERROR_STATUS = 400


class HyperClient:
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
        return codec.decode(Image, self._json("GET", f"/v1/images/{_quote(ref)}"))

    def delete_image(self, ref: str) -> None:
        """Remove an image, or one name of it.

        :raises ImageNotFound: when the host does not have it.
        :raises ImageInUse: when a pod needs it.
        """
        self._json("DELETE", f"/v1/images/{_quote(ref)}")

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
        return codec.decode(Pod, self._json("GET", f"/v1/pods/{_quote(ref)}"))

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
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{_quote(ref)}/boot", body))

    def start_pod(self, ref: str) -> Pod:
        """Start the containers of a pod, booting it first when it is stopped."""
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{_quote(ref)}/start", {}))

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        """Stop a pod: the stop signal, *grace_s* seconds (None: hyperd's own), SIGKILL.

        *force* stops it at once.  A stopped pod stays as it is.
        """
        body = {"grace_s": grace_s, "force": force}
        data = self._json(
            "POST", f"/v1/pods/{_quote(ref)}/stop", body, extra_seconds=float(grace_s or 0)
        )
        return codec.decode(Pod, data)

    def delete_pod(self, ref: str) -> None:
        """Remove a pod, also a half-made one.

        :raises PodNotFound: when there is none.
        """
        response = self._transport.request("DELETE", f"/v1/pods/{_quote(ref)}")
        try:
            _parse(response)
        except PodNotFound:
            # The request that was cut before this one has removed it.
            if not response.retried:
                raise

    def console(self, ref: str, max_bytes: int) -> bytes:
        """Return the last *max_bytes* bytes of the containers' output."""
        target = f"/v1/pods/{_quote(ref)}/console?max_bytes={max_bytes}"
        response = self._transport.request("GET", target)
        if response.status >= _ERROR_STATUS:
            _parse(response)
        return response.body

    def events(self, after: int, wait: float) -> EventPage:
        """Return the events after the one numbered *after*.

        *wait* is how many seconds to wait for the first; *after* of -1 returns
        at once, with only the number to go on from.
        """
        query = urllib.parse.urlencode({"after": after, "wait": f"{wait:g}"})
        data = self._json("GET", f"/v1/events?{query}", extra_seconds=wait)
        return codec.decode(EventPage, data)

    def _json(self, method: str, target: str, body: Any = None, extra_seconds: float = 0.0) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        response = self._transport.request(method, target, raw, extra_seconds=extra_seconds)
        return _parse(response)


def _quote(ref: str) -> str:
    return urllib.parse.quote(ref, safe="")


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
