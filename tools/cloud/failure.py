"""The one exception of this package."""

from __future__ import annotations

from pathlib import Path

TAIL_LINES = 20


class CloudError(Exception):
    """A step of bringing the cloud up or down failed.

    *message* is one sentence that says what to do; *log* is the file that has
    the rest.
    """

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.log = log

    def tail(self) -> list[str]:
        """Return the last lines of the log."""
        if self.log is None or not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16384))
            lines = file.read().decode(errors="replace").splitlines()
        return lines[-TAIL_LINES:]
