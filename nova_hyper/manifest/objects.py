"""ConfigMaps and Secrets that stand beside the Pod in its file."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Mapping
from typing import Any

from nova_hyper.manifest import schema
from nova_hyper.manifest.problems import Problems

CONFIG_MAP = "ConfigMap"
SECRET = "Secret"  # noqa: S105


@dataclasses.dataclass(frozen=True)
class Objects:
    """The data of all ConfigMaps and Secrets, by kind and name."""

    data: Mapping[tuple[str, str], Mapping[str, bytes]]

    def find(
        self, kind: str, name: str, optional: bool, path: str, problems: Problems
    ) -> Mapping[str, bytes]:
        """Return the data of one object; one that is missing and must be there is a problem."""
        found = self.data.get((kind, name))
        if found is None and not optional:
            problems.add(
                path,
                f"names the {kind} {name}, which is not in the file; put it there as a document "
                "of its own",
            )
        return found or {}

    def value(
        self, kind: str, reference: Mapping[str, Any], path: str, problems: Problems
    ) -> bytes | None:
        """Return the value that a key reference means, None where an optional one is not there."""
        optional = reference.get("optional", False)
        before = problems.count
        found = self.find(kind, reference["name"], optional, f"{path}.name", problems)
        value = found.get(reference["key"])
        if value is None and not optional and problems.count == before:
            problems.add(
                f"{path}.key",
                f"names the key {reference['key']}, which the {kind} {reference['name']} has not",
            )
        return value


def read(documents: list[tuple[int, dict[str, Any]]], problems: Problems) -> Objects:
    """Return the objects among the numbered *documents*, saying what is wrong with each."""
    data: dict[tuple[str, str], Mapping[str, bytes]] = {}
    for number, document in documents:
        kind = document["kind"]
        root = f"document {number} ({kind}): "
        before = problems.count
        schema.check(document, kind, root, problems)
        if problems.count != before:
            continue
        name = document["metadata"]["name"]
        if (kind, name) in data:
            problems.add(f"{root}metadata.name", f"is {name}, as of an earlier {kind}")
        data[kind, name] = _data(kind, document, root, problems)
    return Objects(data)


def _data(kind: str, document: dict[str, Any], root: str, problems: Problems) -> dict[str, bytes]:
    plain, encoded = ("data", "binaryData") if kind == CONFIG_MAP else ("stringData", "data")
    found = {}
    for key, value in document.get(encoded, {}).items():
        try:
            found[key] = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            problems.add(f"{root}{encoded}.{key}", "is not base64")
    for key, value in document.get(plain, {}).items():
        if kind == CONFIG_MAP and key in found:
            problems.add(f"{root}data.{key}", "is in binaryData too")
        found[key] = value.encode()
    return found
