"""Does it answer?  Questions that :class:`cloud.service.Service` asks while it waits."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cloud import command

HTTP_UNREADY = {502, 503}


def http(url: str) -> Callable[[], bool]:
    """Return the question whether an HTTP server answers at *url*, whatever it says."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return True
        except urllib.error.HTTPError as exc:
            return exc.code not in HTTP_UNREADY
        except OSError:
            return False

    return ask


def tcp(address: str, port: int) -> Callable[[], bool]:
    """Return the question whether something accepts connections there."""

    def ask() -> bool:
        try:
            with socket.create_connection((address, port), timeout=2):
                return True
        except OSError:
            return False

    return ask


def unix(path: Path) -> Callable[[], bool]:
    """Return the question whether something accepts connections on the socket *path*."""

    def ask() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            try:
                sock.connect(str(path))
            except OSError:
                return False
        return True

    return ask


def succeeds(*argv: str) -> Callable[[], bool]:
    """Return the question whether this command succeeds."""
    return lambda: command.output(argv, timeout_s=5) is not None
