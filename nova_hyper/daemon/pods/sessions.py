"""What is done with the containers of a running pod: commands, copies, logs, measurements."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nova_hyper.daemon.logs.follow import PodLog
from nova_hyper.daemon.logs.selection import Selection
from nova_hyper.daemon.pods import usage
from nova_hyper.daemon.pods.registry import Entry, Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import UP, Pods
from nova_hyper.daemon.ports import AgentError, GuestSession, GuestStream
from nova_hyper.spec.errors import (
    Conflict,
    ContainerFailed,
    ContainerNotFound,
    GuestFailed,
    HyperError,
    InvalidRequest,
)
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.stats import PodStats, Top
from nova_hyper.spec.stream import Terminal

_ANSWER_S = 30.0
# What is suspended may go on.
_OVER = (PodState.STOPPED, PodState.CRASHED, PodState.DELETING)


@dataclasses.dataclass(frozen=True)
class Command:
    """What to run in a container; None is as the container's own process has it."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    terminal: Terminal | None = None
    stdin: bool = False


class Sessions:
    """Opens streams into pods.  *ref* is a pod's id or name; no container is its first one."""

    def __init__(
        self, registry: Registry, repository: Repository, sandboxes: Sandboxes, pods: Pods
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._sandboxes = sandboxes
        self._pods = pods

    def exec(self, ref: str, container: str | None, command: Command) -> GuestStream:
        """Run a command beside the container's process.

        :raises ContainerFailed: when it cannot be started (no such file, user or directory).
        """
        entry, name = self._running(ref, container)
        options: dict[str, Any] = {"env": list(command.env), "stdin": command.stdin}
        if command.user is not None:
            options["user"] = command.user
        if command.working_dir is not None:
            options["cwd"] = command.working_dir
        options["tty"] = command.terminal and dataclasses.asdict(command.terminal)
        argv = list(command.argv)
        return self._open(entry, "exec", "streams", "exec.start", name=name, argv=argv, **options)

    def attach(self, ref: str, container: str | None, stdin: bool) -> GuestStream:
        """Join the output of a container's process, and its input where it has one.

        It may be one that has not started yet, so that nothing of it is missed.
        """
        entry = self._up(ref)
        name = self._named(entry, container)
        stream = self._open(entry, "attach", "streams", "container.attach", name=name, stdin=stdin)
        return stream

    def read_archive(self, ref: str, container: str | None, path: str) -> GuestStream:
        """Read a file or directory of a container as tar."""
        entry, name = self._running(ref, container)
        return self._open(entry, "copying", "archive", "archive.get", name=name, path=path)

    def write_archive(self, ref: str, container: str | None, path: str) -> GuestStream:
        """Extract the tar that is written below the directory *path* of a container."""
        entry, name = self._running(ref, container)
        return self._open(entry, "copying", "archive", "archive.put", name=name, path=path)

    def export(self, ref: str, container: str | None, freeze: bool) -> GuestStream:
        """Read what a container has written as a layer of an image.

        With *freeze* it stands still until the stream ends, however it ends.
        """
        entry, name = self._running(ref, container)
        return self.export_of(entry, name, freeze)

    def export_of(self, entry: Entry, container: str, freeze: bool = False) -> GuestStream:
        """Do that for an entry whose containers may not run."""
        self._named(entry, container)
        return self._open(
            entry, "commits", "archive", "upper.export", name=container, freeze=freeze
        )

    def stats(self, ref: str) -> PodStats:
        """Return what a pod and its containers use."""
        entry = self._up(ref)
        answer = self._ask(entry, "stats", "stats", "pod.stats")
        return usage.stats(answer, [c.name for c in entry.pod.containers])

    def top(self, ref: str, container: str | None) -> Top:
        """Return the processes of a container."""
        entry, name = self._running(ref, container)
        answer = self._ask(entry, "top", "stats", "container.top", name=name)
        return Top(name, usage.processes(answer))

    def kill(self, ref: str, container: str | None, signal: str) -> None:
        """Send a signal to the process of a container, or of all of them."""
        entry = self._up(ref)
        names = [container] if container else [c.name for c in entry.pod.spec.containers]
        for name in names:
            self._named(entry, name)
        sent, failed = 0, None
        for name in names:
            try:
                self._ask(entry, "kill", "streams", "container.signal", name=name, signal=signal)
                sent += 1
            except Conflict as exc:  # it has ended; the others may not
                failed = exc
        if not sent and failed is not None:
            raise failed

    def log(self, ref: str, selection: Selection, after: str | None) -> PodLog:
        """Open what a pod's containers printed, also one that is stopped."""
        entry = self._registry.get(ref)
        if selection.container is not None:
            self._named(entry, selection.container)
        records = self._repository.log(entry.id)
        raw = not self._has_records(entry, records)
        if raw and selection.container is not None and len(entry.pod.containers) > 1:
            raise _too_old("logs of one container")
        path = self._repository.console(entry.id) if raw else records
        return PodLog(path, selection, after, raw)

    def _has_records(self, entry: Entry, records: Path) -> bool:
        if entry.session is not None and "log" in entry.session.features:
            return True
        # Of a pod that is down: an agent that does not know of the file leaves it empty.
        rotated = records.with_name(f"{records.name}.0")
        return rotated.exists() or (records.exists() and records.stat().st_size > 0)

    def alive(self, ref: str) -> bool:
        """Return whether a pod may still print something; never raises."""
        entry = self._registry.find(ref)
        return entry is not None and entry.pod.state not in _OVER

    def pod_id(self, ref: str) -> str:
        """Return the id of the pod that *ref* is now."""
        return self._registry.get(ref).id

    def _up(self, ref: str) -> Entry:
        entry = self._registry.get(ref)
        if entry.pod.state not in UP:
            raise Conflict(
                f"pod {entry.pod.spec.name} does not run (it is {entry.pod.state}); start it first"
            )
        entry.require_unpaused()
        return entry

    def _running(self, ref: str, container: str | None) -> tuple[Entry, str]:
        entry = self._up(ref)
        if entry.pod.state is not PodState.RUNNING:
            raise Conflict(
                f"no container of pod {entry.pod.spec.name} has been started; start the pod first"
            )
        return entry, self._named(entry, container)

    @staticmethod
    def _named(entry: Entry, container: str | None) -> str:
        # The first one that stays, not one that prepares the others.
        if container is None:
            return entry.pod.spec.containers[0].name
        names = [c.name for c in entry.pod.containers]
        if container not in names:
            raise ContainerNotFound(
                f"pod {entry.pod.spec.name} has no container {container}; it has "
                f"{', '.join(names)}"
            )
        return container

    def _session(self, entry: Entry) -> GuestSession:
        session = entry.session
        if session is not None:
            return session
        try:
            with entry.lock:
                return entry.session or self._sandboxes.connect(entry, fresh=False)
        finally:
            self._pods.on_released(entry)

    def _able(self, entry: Entry, what: str, feature: str) -> GuestSession:
        session = self._session(entry)
        if feature not in session.features:
            raise _too_old(what)
        return session

    def _open(self, entry: Entry, what: str, feature: str, op: str, **args: Any) -> GuestStream:
        session = self._able(entry, what, feature)
        try:
            return session.open_stream(op, _ANSWER_S, **args)
        except AgentError as exc:
            raise _typed(exc, args["name"]) from exc

    def _ask(self, entry: Entry, what: str, feature: str, op: str, **args: Any) -> dict[str, Any]:
        session = self._able(entry, what, feature)
        try:
            return session.request(op, _ANSWER_S, **args)
        except AgentError as exc:
            raise _typed(exc, args.get("name")) from exc


def _too_old(what: str) -> HyperError:
    return Conflict(
        f"the guest's agent is too old for {what}: build the guest again (hyperctl guest build) "
        "and start the pod anew"
    )


def _typed(exc: AgentError, container: str | None) -> HyperError:
    message = f"container {container}: {exc.message}" if container else exc.message
    kinds: dict[str, type[HyperError]] = {
        "exec": ContainerFailed,
        "invalid": InvalidRequest,
        "state": Conflict,
    }
    return kinds.get(exc.code, GuestFailed)(message, code=exc.code)
