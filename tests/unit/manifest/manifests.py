"""Manifests for tests: a small one, and changes of it."""

from __future__ import annotations

import copy
import json
import re
import textwrap
from pathlib import Path

from nova_hyper.manifest.pod import Manifest, parse

PAGE = Path(__file__).parents[3] / "doc/source/tenant/manifests.rst"
"""What tenants are told."""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
}
SETTINGS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"color": "blue", "motd.txt": "hello\n"},
    "binaryData": {"blob": "/w=="},
}
KEYS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys"},
    "type": "Opaque",
    "data": {"password": "c2VzYW1l"},
    "stringData": {"user": "ali"},
}


def text(*documents: object) -> bytes:
    # JSON is YAML, and has no aliases for what is there twice.
    return "\n---\n".join(json.dumps(d, indent=1) for d in documents).encode()


def pod(**spec: object) -> dict:
    """The small Pod with other fields in its spec."""
    made = copy.deepcopy(POD)
    made["spec"].update(spec)
    return made


def container(**fields: object) -> dict:
    """The small Pod with other fields in its one container."""
    made = copy.deepcopy(POD)
    made["spec"]["containers"][0].update(fields)
    return made


def read(*documents: object) -> Manifest:
    return parse(text(*documents))


def main(**fields: object):
    """The one container of a Pod that has *fields* in it; both objects stand beside it."""
    return read(container(**fields), SETTINGS, KEYS).containers[0].container


def documented_examples() -> list[str]:
    """The manifests that tenants are shown."""
    found = re.findall(r"\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGE.read_text())
    return [textwrap.dedent(block) for block in found]
