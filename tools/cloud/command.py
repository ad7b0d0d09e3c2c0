"""Run a command to its end, with its output in a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cloud.failure import CloudError
from cloud.site import Site


def run(
    site: Site,
    log_name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    also: Iterable[int] = (),
    heard: Callable[[str], None] | None = None,
    timeout_s: float = 600,
) -> None:
    """Run *argv* in the site's environment; its output is appended to ``log/<log_name>.log``.

    It must end with status 0 or one of *also*; *heard* gets each line that it
    prints, as it is printed.

    :raises CloudError: when it fails, is not there, or takes longer than *timeout_s*.
    """
    log = site.log / f"{log_name}.log"
    with log.open("a", buffering=1) as out:
        out.write(f"+ {' '.join(argv)}\n")
        try:
            process = subprocess.Popen(
                argv,
                env=site.environ | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as exc:
            raise CloudError(f"{argv[0]} cannot be run: {exc.strerror}.", log) from exc
        timer = threading.Timer(timeout_s, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                if heard is not None:
                    heard(line.rstrip())
            status = process.wait()
        finally:
            expired = not timer.is_alive()
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if expired:
        raise CloudError(f"{Path(argv[0]).name} did not end within {timeout_s:.0f} s.", log)
    if status and status not in also:
        raise CloudError(f"{Path(argv[0]).name} ended with status {status}.", log)


def output(argv: Sequence[str], *, timeout_s: float = 10) -> str | None:
    """Return what *argv* prints, or None when it fails; for asking, not for doing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
