"""The site: where the cloud lives, and the names, ports and passwords in it."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import secrets
import socket
from pathlib import Path

ADDRESS = "127.0.0.1"
REGION = "RegionOne"
DNS_DOMAIN = "hyper.internal"
HYPERD_SOCKET = Path("/run/hyperd/hyperd.sock")
OVSDB = "unix:/run/openvswitch/db.sock"

PORTS = {
    "keystone": 5000,
    "placement": 8778,
    "glance": 9292,
    "nova": 8774,
    "metadata": 8775,
    "serialproxy": 6083,
    "neutron": 9696,
    # Not RabbitMQ's usual ports: the package's own server may start at the next boot.
    "bus": 5673,
    "bus-dist": 25673,
    "bus-epmd": 4370,
}

PATHS = {"nova": "/v2.1"}
"""What follows the port in the catalogue's URL of a service."""


@dataclasses.dataclass(frozen=True)
class Site:
    """One cloud: ``home`` holds all its files, ``driver`` is ``hyper`` or ``fake``.

    ``fake`` is Nova's own fake driver: a cloud without pods, to look at
    everything else.
    """

    home: Path
    driver: str = "hyper"

    @property
    def repo(self) -> Path:
        """The checkout that this file belongs to."""
        return Path(__file__).resolve().parents[2]

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    @property
    def etc(self) -> Path:
        return self.home / "etc"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def var(self) -> Path:
        return self.home / "var"

    @property
    def guest(self) -> Path:
        """What ``hyperctl guest build`` makes; as the venv, it outlives ``--purge``."""
        return self.home / "guest"

    @property
    def host(self) -> str:
        """The name of the node in Nova and Neutron."""
        return socket.gethostname()

    def bin(self, command: str) -> str:
        """Return the path of *command* in the virtual environment."""
        return str(self.venv / "bin" / command)

    def url(self, service: str) -> str:
        """Return the base URL of *service*'s API, without a trailing slash."""
        return f"http://{ADDRESS}:{PORTS[service]}{PATHS.get(service, '')}"

    @functools.cached_property
    def passwords(self) -> dict[str, str]:
        """Passwords of ``admin``, ``demo``, the services, the bus and the metadata proxy.

        Made once and kept in a file that only root can read.
        """
        file = self.etc / "passwords.json"
        if not file.exists():
            names = ("admin", "demo", "service", "bus", "metadata")
            made = {name: secrets.token_urlsafe(18) for name in names}
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(made, indent=1))
            draft.replace(file)
        loaded: dict[str, str] = json.loads(file.read_text())
        return loaded

    @functools.cached_property
    def environ(self) -> dict[str, str]:
        """The environment of everything that the cloud starts.

        Not the caller's: a proxy, a ``PYTHONPATH`` or an ``OS_CLOUD`` of theirs
        must not reach the services.
        """
        kept = {k: os.environ[k] for k in ("TERM", "TZ") if k in os.environ}
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return kept | {
            "PATH": f"{self.venv}/bin:{system}",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            # Deprecation warnings of the services are their authors' matter.
            "PYTHONWARNINGS": "ignore",
        }

    def make_directories(self) -> None:
        """Make the directories that everything else writes to."""
        for path in (self.etc, self.log, self.run, self.var, self.guest):
            path.mkdir(parents=True, exist_ok=True)
        for path in (self.etc, self.log, self.run):
            path.chmod(0o700)
