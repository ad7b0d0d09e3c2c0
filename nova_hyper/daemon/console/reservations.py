"""Which pod has which TCP port for its console.

Nova gives a user a token for a host and a port, good for some minutes, and asks
for the pod's port again before it lets the token in.  So a pod keeps its port
over restarts of itself and of the daemon, and no other pod gets it while there
are others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nova_hyper.daemon.files import write_atomically

LOG = logging.getLogger(__name__)


class Reservations:
    """Ports of *ports* by pod id; the caller has the lock.

    *file* is where the number of a pod's port is kept.
    """

    def __init__(self, ports: range, file: Callable[[str], Path]) -> None:
        self._ports = ports
        self._file = file
        self._by_port: dict[int, str] = {}
        self._by_pod: dict[str, int] = {}

    def load(self, pod_ids: Iterable[str]) -> None:
        """Read the ports of these pods; what is no port of ours is forgotten."""
        for pod_id in pod_ids:
            try:
                port = int(self._file(pod_id).read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as exc:
                LOG.warning("pod %s gets another port for its console: %s", pod_id, exc)
                continue
            if port in self._ports and port not in self._by_port:
                self._by_port[port] = pod_id
                self._by_pod[pod_id] = port

    def candidates(self, pod_id: str, taken: Callable[[str], bool]) -> Iterator[int]:
        """Yield ports for a pod, its own first, and those that others may want back last.

        *taken* tells of a pod whether it uses its port now: that is not yielded.
        """
        own = self._by_pod.get(pod_id)
        if own is not None:
            yield own
        yield from (port for port in self._ports if port not in self._by_port)
        for port, owner in sorted(self._by_port.items()):
            if owner != pod_id and not taken(owner):
                yield port

    def give(self, pod_id: str, port: int) -> None:
        """Write down that the pod has the port, whoever had it before."""
        if self._by_pod.get(pod_id) == port:
            return
        before = self._by_port.get(port)
        if before is not None:
            self.forget(before)
            with contextlib.suppress(OSError):
                self._file(before).unlink()
        self.forget(pod_id)
        self._by_port[port] = pod_id
        self._by_pod[pod_id] = port
        try:
            write_atomically(self._file(pod_id), b"%d\n" % port)
        except OSError as exc:
            # A full disk: it has the port as long as this daemon runs.
            LOG.warning("the port of pod %s's console cannot be written down: %s", pod_id, exc)

    def forget(self, pod_id: str) -> None:
        """Let others have the port of a pod that is gone; idempotent."""
        port = self._by_pod.pop(pod_id, None)
        if port is not None:
            self._by_port.pop(port, None)
