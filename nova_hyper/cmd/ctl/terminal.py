"""The terminal of ``exec`` and ``attach``: raw bytes both ways, the window's size, signals."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any

from nova_hyper.client.protocol import Session
from nova_hyper.spec.stream import Terminal

_PIECE = 32 * 1024
_STDIN = 0
_OUTPUTS = {1: 1, 2: 2}
DETACH = b"\x10\x11"
"""Ctrl-P Ctrl-Q, as docker."""

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def size() -> Terminal:
    """Return the size of our own terminal.

    That of the terminal itself where there is one: what LINES and COLUMNS say
    does not follow the window.
    """
    try:
        columns, lines = os.get_terminal_size(sys.__stdout__.fileno())  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        columns, lines = 0, 0
    if not (columns and lines):
        columns, lines = shutil.get_terminal_size()
    return Terminal(lines, columns)


def join(session: Session, *, stdin: bool, raw: bool, detach: bytes = b"") -> bool:
    """Connect *session* with our own input and output until it ends; False when detached.

    :param stdin: send what we read.
    :param raw: it has a terminal: each key goes there at once, and the window's size too.
    :param detach: keys that leave it running.
    :raises HyperError: the one that the session ended with.
    """
    keyboard = _Keyboard(session, stdin, detach)
    with contextlib.ExitStack() as stack:
        stack.callback(session.close)
        stack.callback(keyboard.stop)
        if raw:
            stack.enter_context(_raw_terminal())
            stack.enter_context(_on_resize(keyboard.resized))
        keyboard.start()
        try:
            for channel, data in session:
                _write(_OUTPUTS[channel], data)
        except Exception:
            if not keyboard.detached:
                raise
    return not keyboard.detached


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class _Keyboard:
    """Sends what is typed, and the window's size, from a thread of its own.

    The thread that shows the output must never wait for the other side to take
    input: that side may itself wait for its output to be taken.
    """

    def __init__(self, session: Session, stdin: bool, detach: bytes) -> None:
        self._session = session
        self._stdin = stdin
        self._detach = detach
        self._typed = b""
        self._wake_in, self._wake_out = os.pipe()
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)
        self.detached = False

    def start(self) -> None:
        self._thread.start()

    def resized(self) -> None:
        """The window has another size; may be called by a signal handler."""
        os.write(self._wake_out, b"r")

    def stop(self) -> None:
        os.write(self._wake_out, b"s")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if self._stdin:
            poll.register(_STDIN, select.POLLIN)
        while True:
            for fd, _events in poll.poll():
                if fd == self._wake_in:
                    if b"s" in os.read(self._wake_in, _PIECE):
                        return
                    self._session.resize(size())
                elif not self._read():
                    poll.unregister(_STDIN)

    def _read(self) -> bool:
        """Send what there is; False at the end of the input."""
        try:
            data = os.read(_STDIN, _PIECE)
        except OSError:  # the terminal was closed
            data = b""
        if not data:
            self._session.end_input()
            return False
        self._typed = (self._typed + data)[-len(self._detach) :] if self._detach else b""
        if self._detach and self._typed == self._detach:
            self.detached = True
            self._session.close()
            return False
        self._session.write(data)
        return True


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Hand all keys through; restored also when somebody ends us with a signal."""
    if not sys.stdin.isatty():
        yield
        return

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDINGS}
    saved = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN)
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, saved)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _on_resize(tell: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda _number, _frame: tell())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
