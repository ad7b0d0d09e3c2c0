"""The pods of this host in memory, each with its lock."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

from nova_hyper.daemon.pods.pace import Pace
from nova_hyper.daemon.ports import GuestSession
from nova_hyper.daemon.stopwatch import Stopwatch
from nova_hyper.spec.errors import PodExists, PodNotFound, PodPaused
from nova_hyper.spec.pod import Pod, PodState


class Entry:
    """One pod, and what only a running daemon knows of it.

    Whoever changes ``pod`` or ``session`` holds ``lock``; reading ``pod`` needs
    no lock, because it is replaced as a whole.  ``noticed`` is True while
    something has happened to the guest that nobody has looked at yet, and
    ``doomed`` once somebody waits for the lock to remove the pod; ``stopping`` is
    True while whoever has the lock waits for containers to end.  ``slow`` is
    True once a look at the guest took long, or there were more than ``looks`` allows.
    """

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.lock = threading.Lock()
        self.session: GuestSession | None = None
        self.watch = Stopwatch(pod.timeline)
        self.pace = Pace()
        self.noticed = False
        self.doomed = False
        self.stopping = False
        self.looks = Pace()
        self.slow = False
        self.gone = False

    @property
    def id(self) -> str:
        return self.pod.spec.id

    def update(self, **changes: object) -> Pod:
        """Replace fields of the pod, in memory only."""
        self.pod = dataclasses.replace(self.pod, **changes)  # type: ignore[arg-type]
        return self.pod

    def require_unpaused(self) -> None:
        """Refuse what a guest that stands still could not answer.

        :raises PodPaused: when the pod is paused.
        """
        if self.pod.state is PodState.PAUSED:
            raise PodPaused(f"pod {self.pod.spec.name} is paused; unpause it first")

    def close_session(self) -> None:
        """Hang up on the agent; idempotent."""
        session, self.session = self.session, None
        if session is not None:
            session.close()


class Registry:
    """Entries by id; names are unique as well."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def name_of(self, pod_id: str) -> str:
        """Return how the pod is called, its id where it is gone."""
        entry = self.find(pod_id)
        return entry.pod.spec.name if entry is not None else pod_id

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:
            return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, pod: Pod) -> Entry:
        """Return the entry of a pod that was read from disk."""
        with self._lock:
            entry = self._entries[pod.spec.id] = Entry(pod)
            return entry

    def claim(self, pod: Pod) -> tuple[Entry, bool]:
        """Return the entry of the pod's id, and whether it is new, made of *pod*.

        The lock of a new one is held by the caller, so that nobody sees it
        before the caller has begun.

        :raises PodExists: when the id or the name belongs to a different pod.
        """
        with self._lock:
            entry = self._entries.get(pod.spec.id)
            if entry is not None:
                if entry.pod.spec != pod.spec:
                    raise PodExists(
                        f"pod {pod.spec.id} exists already with another specification; delete it "
                        "first"
                    )
                return entry, False
            for other in self._entries.values():
                if other.pod.spec.name == pod.spec.name:
                    raise PodExists(
                        f"the name {pod.spec.name} belongs to pod {other.id}; choose another one "
                        "or delete that pod"
                    )
            entry = Entry(pod)
            entry.lock.acquire()
            self._entries[pod.spec.id] = entry
            return entry, True

    def get(self, ref: str) -> Entry:
        """Return the entry of an id, a name, or the unique beginning of an id.

        :raises PodNotFound: when there is none, or more than one.
        """
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            if ref == entry.id:
                return entry
        for entry in entries:
            if ref == entry.pod.spec.name:
                return entry
        found = [e for e in entries if ref and e.id.startswith(ref)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PodNotFound(f"{ref} is the beginning of {len(found)} pod ids; give more of it")
        raise PodNotFound(f"there is no pod {ref}; 'hyperctl ps -a' lists the pods of this host")

    def find(self, pod_id: str) -> Entry | None:
        """Return the entry of exactly this id, or None."""
        return self._entries.get(pod_id)

    def boot_files(self) -> set[str]:
        """Return the ids of all kernels and ramdisks that pods boot."""
        pods = [entry.pod for entry in self]
        boots = [pod.spec.boot for pod in pods]
        boots += [pod.rescued.spec.boot for pod in pods if pod.rescued is not None]
        return {ref for boot in boots for ref in (boot.kernel, boot.ramdisk) if ref}

    def drop(self, entry: Entry) -> None:
        """Forget *entry*; who waits for its lock sees that it is gone."""
        with self._lock:
            entry.gone = True
            if self._entries.get(entry.id) is entry:
                del self._entries[entry.id]
