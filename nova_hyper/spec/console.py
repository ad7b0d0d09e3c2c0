"""The interactive console of a pod."""

from __future__ import annotations

import dataclasses
import enum


class ConsoleKind(enum.StrEnum):
    """What a connection to a pod's console is joined to, in its first container."""

    AUTO = "auto"
    """The terminal of the container's own process where it has one, else a shell."""
    ATTACH = "attach"
    """The container's own process: its output, and its input where it was made with one."""
    SHELL = "shell"
    """A shell, one for each connection."""


@dataclasses.dataclass(frozen=True)
class ConsolePort:
    """Where a pod's console listens: TCP, raw bytes both ways."""

    host: str
    port: int
