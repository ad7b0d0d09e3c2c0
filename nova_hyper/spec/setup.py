"""What a pod is given by its creator before it starts: files, keys, a password, a config drive."""

from __future__ import annotations

import dataclasses

CONFIG_DRIVE_PATH = "/mnt/config"
"""Where containers see the config drive: what the guides of OpenStack have users do."""
CONFIG_DRIVE_LABEL = "config-2"
MAX_CONFIG_DRIVE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class InjectedFile:
    """A file of root's, ``mode`` with the permission bits only, that takes the place of another.

    ``path`` is absolute, in the container; directories above it are made with
    mode 0755; ``data`` is base64.
    """

    path: str
    data: str
    mode: int = 0o644


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all containers get, but for init containers.

    ``keys`` are lines of ``authorized_keys`` for ``user``, where the image has
    that user; ``password`` is what crypt(3) gives (``$6$...``), never the
    password itself, for an image with that user in ``/etc/shadow``.
    """

    files: tuple[InjectedFile, ...] = ()
    user: str = "root"
    keys: tuple[str, ...] = ()
    password: str = ""


@dataclasses.dataclass(frozen=True)
class SetupDone:
    """Whether any container has the user, with a home for keys and an entry for a password."""

    keys: bool = False
    password: bool = False
