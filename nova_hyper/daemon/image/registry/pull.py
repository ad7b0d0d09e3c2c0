"""Pulling of one image: its documents, then the layers that are not here yet."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import tenacity
import urllib3

from nova_hyper.daemon.image import manifest
from nova_hyper.daemon.image.archive import FoundImage
from nova_hyper.daemon.image.compression import Read, sniff
from nova_hyper.daemon.image.digest import is_digest, sha256
from nova_hyper.daemon.image.pulled import Blob, Progress
from nova_hyper.daemon.image.registry.blob import Download
from nova_hyper.daemon.image.registry.claims import Cancelled, Claims, Either
from nova_hyper.daemon.image.registry.credentials import Credentials
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.reference import Reference
from nova_hyper.daemon.image.registry.session import RegistrySession
from nova_hyper.spec.errors import ImageInvalid, RegistryFailed, RegistryUnavailable

_MAX_DOCUMENT = 4 << 20
_MAX_DOCUMENTS = 20
_TELL_S = 0.25
_SNIFF = 512
_ACCEPT = ", ".join((*manifest.MANIFESTS, *manifest.INDEXES))

Tell = Callable[[dict[str, Any]], None]
"""Takes what happens, as the events of ``POST /v1/images/pull``."""


class Sink(Protocol):
    """Where layers go: an import."""

    def known(self, digest: str, compressed: bool) -> str: ...

    def convert(self, read: Read, compression: str, what: str) -> tuple[str, str]: ...

    def pulled(self, documents: Sequence[bytes], arch: str) -> Progress: ...

    def temporary(self) -> contextlib.AbstractContextManager[Path]: ...


@dataclasses.dataclass(frozen=True)
class Pull:
    """One pull.

    :param arch: of this host, as images call it.
    :param limit: bytes of all its compressed layers.
    """

    reference: Reference
    policy: RegistryPolicy
    credentials: Credentials | None
    arch: str
    limit: int
    tell: Tell
    cancelled: threading.Event
    claims: Claims

    def run(self, sink: Sink) -> FoundImage:
        """Bring every layer of the image to *sink*, and return the image.

        :raises RegistryDenied: when the registry wants other credentials.
        :raises RegistryFailed: when it does not answer as it should.
        :raises ImageInvalid: when what it sends cannot be used.
        :raises ImageUnsuitable: when it has the image for other platforms only.
        """
        session = RegistrySession(self.reference, self.policy, self.credentials)
        try:
            found, blobs = self._documents(session, sink)
            self.tell(
                {
                    "event": "resolved",
                    "name": self.reference.name,
                    "id": found.id,
                    "layers": [dataclasses.asdict(blob) for blob in blobs],
                }
            )
            self._layers(session, sink, list(zip(blobs, found.config.diff_ids, strict=True)))
            return found
        finally:
            session.close()

    # Documents

    def _documents(
        self, session: RegistrySession, sink: Sink
    ) -> tuple[FoundImage, tuple[Blob, ...]]:
        target = f"manifests/{self.reference.target}"
        documents = [self._document(session, target, self.reference.digest)]
        while (found := sink.pulled(documents, self.arch)).image is None:
            if len(documents) >= _MAX_DOCUMENTS:
                raise ImageInvalid(
                    f"the image consists of more than {_MAX_DOCUMENTS} documents; pull it by the "
                    "digest of its own manifest"
                )
            where = "manifests" if found.is_manifest else "blobs"
            documents.append(self._document(session, f"{where}/{found.needed}", found.needed))
        if sum({blob.digest: blob.size for blob in found.layers}.values()) > self.limit:
            raise ImageInvalid(
                f"the image is larger than {self.limit / (1 << 30):.3g} GiB; raise [image] "
                "max_image_gib of hyperd if that is intended"
            )
        return found.image, found.layers

    def _document(self, session: RegistrySession, path: str, digest: str) -> bytes:
        """Return a manifest or configuration, which has *digest* where that is known."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RegistryUnavailable),
            wait=tenacity.wait_fixed(1),
            stop=tenacity.stop_after_attempt(2),
            sleep=tenacity.sleep_using_event(self.cancelled),
            reraise=True,
        )
        return again(self._read_document, session, path, digest)

    def _read_document(self, session: RegistrySession, path: str, digest: str) -> bytes:
        if self.cancelled.is_set():
            raise Cancelled
        response = session.get(path, {"Accept": _ACCEPT} if "manifests/" in path else {})
        data = b""
        try:
            while len(data) <= _MAX_DOCUMENT and (part := response.read1(1 << 16)):
                data += part
                if self.cancelled.is_set():
                    raise Cancelled
        except urllib3.exceptions.HTTPError as exc:
            raise RegistryUnavailable(
                f"the registry cut the connection ({type(exc).__name__})"
            ) from None
        finally:
            response.close()
        if len(data) > _MAX_DOCUMENT:
            raise RegistryFailed(
                f"{path} of the registry is larger than {_MAX_DOCUMENT >> 20} MiB"
            )
        said = digest or response.headers.get("Docker-Content-Digest", "")
        if is_digest(said) and sha256(data) != said:
            raise ImageInvalid(
                f"the registry sent something else than {said}: its digest is {sha256(data)}"
            )
        return data

    # Layers

    def _layers(
        self, session: RegistrySession, sink: Sink, layers: list[tuple[Blob, str]]
    ) -> None:
        """Bring the layers here: several downloads at once, one conversion at a time."""
        stop = threading.Event()
        converting = threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(self.policy.downloads, "pull") as pool:
            unique = dict(layers)
            running = [
                pool.submit(self._layer, session, sink, blob, diff_id, converting, stop)
                for blob, diff_id in unique.items()
            ]
            try:
                for each in concurrent.futures.as_completed(running):
                    each.result()
            except BaseException:
                # The others notice; what failed first is what is told.
                stop.set()
                for each in running:
                    each.cancel()
                raise
        for blob, diff_id in layers:
            if unique[blob] != diff_id:
                raise ImageInvalid(
                    f"the configuration gives the layer {blob.digest} two different diff IDs"
                )

    def _layer(
        self,
        session: RegistrySession,
        sink: Sink,
        blob: Blob,
        diff_id: str,
        converting: threading.Lock,
        stop: threading.Event,
    ) -> None:
        gone = Either(self.cancelled, stop)
        with self.claims.of(blob.digest, gone):
            if sink.known(diff_id, False) or sink.known(blob.digest, True) == diff_id:
                self._tell_layer(blob, "present")
                return
            with sink.temporary() as path:
                with open(path, "xb") as out:
                    Download(session, blob, out, self._teller(blob), gone).run()
                with converting, open(path, "rb") as file:
                    if gone.is_set():
                        raise Cancelled
                    self._tell_layer(blob, "converting")
                    compression = sniff(os.pread(file.fileno(), _SNIFF, 0))
                    made, _ = sink.convert(file.read, compression, blob.digest)
            if made != diff_id:
                raise ImageInvalid(
                    f"the layer {blob.digest} has the wrong content: expected {diff_id}, "
                    f"got {made}"
                )
            self._tell_layer(blob, "done")

    def _teller(self, blob: Blob) -> Callable[[int], None]:
        told = 0.0

        def received(done: int) -> None:
            nonlocal told
            if done == blob.size or time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                self._tell_layer(blob, "downloading", received=done)

        return received

    def _tell_layer(self, blob: Blob, state: str, **more: Any) -> None:
        self.tell(
            {"event": "layer", "digest": blob.digest, "size": blob.size, "state": state, **more}
        )
