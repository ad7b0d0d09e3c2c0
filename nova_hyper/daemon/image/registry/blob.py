"""Downloading of one blob, which goes on where a cut connection left it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import BinaryIO

import tenacity
import urllib3

from nova_hyper.daemon.image.pulled import Blob
from nova_hyper.daemon.image.registry.claims import Cancelled
from nova_hyper.daemon.image.registry.session import RegistrySession
from nova_hyper.spec.errors import ImageInvalid, RegistryFailed, RegistryUnavailable

_CHUNK = 1 << 16
_TRIES = 5
"""So often a connection may bring nothing forward."""
_MOST_TRIES = 100
_PARTIAL = 206


class Download:
    """One blob on its way into *out*, an empty file.

    :param received: called with the bytes so far.
    :param cancelled: ends it early when set.
    """

    def __init__(
        self,
        session: RegistrySession,
        blob: Blob,
        out: BinaryIO,
        received: Callable[[int], None],
        cancelled: threading.Event,
    ) -> None:
        self._session = session
        self._blob = blob
        self._out = out
        self._received = received
        self._cancelled = cancelled
        self._hash = hashlib.sha256()
        self._done = 0
        self._fruitless = 0

    def run(self) -> None:
        """Download it whole.

        :raises ImageInvalid: when it is not what its digest says.
        :raises HyperError: when the registry fails for good.
        :raises OSError: when *out* cannot be written.
        """
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RegistryUnavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            stop=self._hopeless,
            sleep=tenacity.sleep_using_event(self._cancelled),
            reraise=True,
        )
        again(self._go_on)
        if self._hash.hexdigest() != self._blob.digest.removeprefix("sha256:"):
            raise ImageInvalid(
                f"the registry sent something else than the blob {self._blob.digest}: its digest "
                f"is sha256:{self._hash.hexdigest()}"
            )

    def _hopeless(self, state: tenacity.RetryCallState) -> bool:
        return self._fruitless >= _TRIES or state.attempt_number >= _MOST_TRIES

    def _go_on(self) -> None:
        before = self._done
        self._fruitless += 1
        wanted = {"Range": f"bytes={before}-"} if before else {}
        response = self._session.get(f"blobs/{self._blob.digest}", wanted)
        try:
            self._receive(response, self._start(response))
        except urllib3.exceptions.HTTPError as exc:
            raise RegistryUnavailable(
                f"the connection to the registry was cut {_TRIES} times at byte {self._done} of "
                f"the blob {self._blob.digest} ({type(exc).__name__})"
            ) from None
        finally:
            if self._done > before:
                self._fruitless = 0
            # Not into the pool again: what is unread of it may be anything.
            response.close()

    def _start(self, response: urllib3.BaseHTTPResponse) -> int:
        """Return how many bytes of the answer are here already."""
        if response.status != _PARTIAL:
            return self._done
        if not response.headers.get("Content-Range", "").startswith(f"bytes {self._done}-"):
            raise RegistryFailed("the registry sends another part of a blob than it was asked for")
        return 0

    def _receive(self, response: urllib3.BaseHTTPResponse, skip: int) -> None:
        while self._done < self._blob.size:
            if self._cancelled.is_set():
                raise Cancelled
            # What there is: a registry that sends a byte a minute must not keep a pull that nobody
            # waits for any more.
            data = response.read1(_CHUNK)
            if not data:
                raise urllib3.exceptions.ProtocolError("it ended early")
            if skip:
                data, skip = data[skip:], max(0, skip - len(data))
            if self._done + len(data) > self._blob.size:
                raise RegistryFailed(
                    f"the blob {self._blob.digest} is larger than its manifest says "
                    f"({self._blob.size} bytes)"
                )
            self._out.write(data)
            self._hash.update(data)
            self._done += len(data)
            self._received(self._done)
