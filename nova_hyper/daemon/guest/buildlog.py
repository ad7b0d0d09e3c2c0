"""Running the tools of a build, with their output in one log."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from nova_hyper.spec.errors import HyperError

_REPORT_S = 15.0
_END_S = 5.0


class BuildFailed(HyperError):
    """The guest could not be built; the message says what to do, or names the log."""

    code = "guest_build_failed"


class BuildLog:
    """The log of one build, and what a person is told meanwhile."""

    def __init__(self, path: Path, progress: Callable[[str], None]) -> None:
        self.path = path
        self._progress = progress
        self._start = time.monotonic()
        self._file: IO[bytes] = path.open("wb")

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._file.close()

    def say(self, message: str) -> None:
        """Tell *message* with the time since the build began, and log it."""
        line = f"[{time.monotonic() - self._start:5.1f} s] {message}"
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self._progress(line)

    def run(
        self,
        what: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run *command* with its output in the log; *what* names it for people.

        Nothing of it survives when the wait is interrupted.

        :raises BuildFailed: when it fails, with its last line and the log's path.
        """
        self._file.write(f"$ {' '.join(map(str, command))}\n".encode())
        self._file.flush()
        begin = self._file.tell()
        try:
            process = subprocess.Popen(
                _dying_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C", **(environment or {})},
            )
        except OSError as exc:
            raise BuildFailed(f"{what}: {command[0]} does not start: {exc.strerror}") from exc
        try:
            code = self._wait(what, process, begin)
        except BaseException:
            _end(process)
            raise
        if code != 0:
            raise BuildFailed(f"{what} failed ({self._last_error(begin)}); see {self.path}")

    def _wait(self, what: str, process: subprocess.Popen[bytes], begin: int) -> int:
        while True:
            try:
                return process.wait(_REPORT_S)
            except subprocess.TimeoutExpired:
                self.say(f"{what}: {self._compiled(begin)} files compiled")

    def _compiled(self, begin: int) -> int:
        with self.path.open("rb") as file:
            file.seek(begin)
            return sum(line.startswith((b"  CC ", b"  AS ", b"cc ", b"gcc ")) for line in file)

    def _last_error(self, begin: int) -> str:
        with self.path.open("rb") as file:
            file.seek(begin)
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line]
        errors = [line for line in lines if "error" in line.lower() or "No such" in line]
        return (errors or lines or ["no output"])[0 if errors else -1].strip()[:300]


def _dying_with_us(command: Sequence[str | Path]) -> list[str | Path]:
    # A build that is killed would otherwise leave its compilers at work for minutes.
    if shutil.which("setpriv") is None:
        return list(command)
    return ["setpriv", "--pdeathsig", "TERM", *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # make passes it on to its compilers
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
