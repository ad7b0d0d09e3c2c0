"""A long-running process of the cloud: what it is, and starting and stopping it.

There is no service manager: the process gets a session of its own, its output
goes to ``log/<name>.log``, and ``run/<name>.pid`` says who it is.  A process id
alone says nothing after the ids have wrapped around or the machine has been
restarted, so the file also has the start time and the id of the boot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cloud.failure import CloudError
from cloud.site import Site

STOP_GRACE_S = 5.0
POLL_S = 0.1


def _always() -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Service:
    """What runs: *argv* in the site's environment and *env*.

    *ready* tells whether it answers; it is called until it returns True, at
    most *timeout_s*.  The service is started anew when *inputs* (files, or
    directories of Python code) have changed since its start.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ready: Callable[[], bool] = _always
    inputs: tuple[Path, ...] = ()
    timeout_s: float = 60.0


def log_file(site: Site, name: str) -> Path:
    """Return the log of the service *name*."""
    return site.log / f"{name}.log"


def pid_file(site: Site, name: str) -> Path:
    """Return the file that says which process the service *name* is."""
    return site.run / f"{name}.pid"


def running_pid(site: Site, name: str) -> int | None:
    """Return the process id of the service *name*, or None when it does not run."""
    record = _record(site, name)
    if record is None or record.get("boot") != _boot_id():
        return None
    pid = int(record["pid"])
    ticks = _start_ticks(pid)
    return pid if ticks is not None and ticks == record.get("start") else None


def started_at(site: Site, name: str) -> datetime.datetime:
    """Return when the service *name* was last started, in whole seconds of UTC.

    Heartbeats have that resolution, and one that a kept database has from an
    earlier run looks alive: it is told by its age.
    """
    seconds = int(pid_file(site, name).stat().st_mtime)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def names(site: Site) -> list[str]:
    """Return the names of the services that have been started here, newest first."""
    files = sorted(site.run.glob("*.pid"), key=lambda f: f.stat().st_mtime, reverse=True)
    return [f.stem for f in files]


def start(site: Site, service: Service) -> bool:
    """Start *service* unless it runs as it should; return whether it was started.

    It may not be ready yet: see :func:`wait`.

    :raises CloudError: when it cannot be run at all.
    """
    with _alone(site):
        return _start(site, service)


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Hold all services: of two that start one at once, the other finds that it runs."""
    site.run.mkdir(parents=True, exist_ok=True)
    directory = os.open(site.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _start(site: Site, service: Service) -> bool:
    wanted = _fingerprint(site, service)
    if running_pid(site, service.name) is not None:
        record = _record(site, service.name)
        if record is not None and record.get("fingerprint") == wanted:
            return False
        _stop(site, service.name)
    log = log_file(site, service.name)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(
                service.argv,
                env=site.environ | dict(service.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            raise CloudError(f"{service.argv[0]} cannot be run: {exc.strerror}.", log) from exc
    _CHILDREN[process.pid] = process
    started: dict[str, Any] = {
        "pid": process.pid,
        # None when it has ended already.
        "start": _start_ticks(process.pid),
        "boot": _boot_id(),
        "fingerprint": wanted,
    }
    file = pid_file(site, service.name)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(started))
    draft.replace(file)
    return True


def wait(site: Site, service: Service) -> None:
    """Return when *service* answers.

    :raises CloudError: when it ends, or does not answer in time.
    """
    deadline = time.monotonic() + service.timeout_s
    while not service.ready():
        if running_pid(site, service.name) is None:
            raise CloudError(f"{service.name} ended while starting.", log_file(site, service.name))
        if time.monotonic() > deadline:
            raise CloudError(
                f"{service.name} runs but does not answer after {service.timeout_s:.0f} s.",
                log_file(site, service.name),
            )
        time.sleep(POLL_S)
    if running_pid(site, service.name) is None:
        if service.ready is _always:
            raise CloudError(f"{service.name} ended.", log_file(site, service.name))
        raise CloudError(
            f"{service.name} ended, and something else answers in its place: stop that first.",
            log_file(site, service.name),
        )


def bring_up(site: Site, *services: Service) -> None:
    """Start *services* together and return when all of them answer."""
    for service in services:
        start(site, service)
    for service in services:
        wait(site, service)


def stop(site: Site, name: str) -> bool:
    """Stop the service *name* with all processes of its session; return whether it ran.

    TERM, then KILL after a grace period: an agent whose main thread has died
    ignores TERM and keeps its port.
    """
    with _alone(site):
        return _stop(site, name)


def _stop(site: Site, name: str) -> bool:
    pid = running_pid(site, name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE_S
        while running_pid(site, name) is not None and time.monotonic() < deadline:
            time.sleep(POLL_S / 2)
    _kill_session(site, name)
    while running_pid(site, name) is not None:
        time.sleep(POLL_S / 2)
    pid_file(site, name).unlink(missing_ok=True)
    return pid is not None


def kill(site: Site, name: str) -> int:
    """Kill the main process of the service *name* with SIGKILL; return its process id.

    For tests of what survives: its children stay.
    """
    pid = running_pid(site, name)
    if pid is None:
        raise CloudError(f"{name} does not run.", log_file(site, name))
    os.kill(pid, signal.SIGKILL)
    while running_pid(site, name) is not None:
        time.sleep(POLL_S / 10)
    return pid


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""The processes that this process started, which it must reap."""


def _record(site: Site, name: str) -> dict[str, Any] | None:
    try:
        record = json.loads(pid_file(site, name).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    # The command name in parentheses may itself hold spaces and parentheses.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    """Return when the process was started, in clock ticks since boot; None when it is no more.

    Source: proc(5), /proc/pid/stat fields 3 (state) and 22 (starttime).
    """
    child = _CHILDREN.get(pid)
    if child is not None and child.poll() is not None:
        del _CHILDREN[pid]
        return None
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return int(fields[19])


def _kill_session(site: Site, name: str) -> None:
    """Kill what is left of the session that the service *name* led."""
    record = _record(site, name)
    if record is None or record.get("boot") != _boot_id():
        return
    session = int(record["pid"])
    started = record["start"] or 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat(int(entry.name))
        # Field 6 is the session; a process older than its leader belongs to a recycled id.
        if fields and int(fields[3]) == session and int(fields[19]) >= started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def _fingerprint(site: Site, service: Service) -> str:
    digest = hashlib.sha256(repr((service.argv, sorted(service.env.items()))).encode())
    for path in service.inputs:
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()
