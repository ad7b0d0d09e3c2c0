"""The variables of a container: ``env`` and ``envFrom``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nova_hyper.manifest.expansion import Expansion
from nova_hyper.manifest.objects import CONFIG_MAP, SECRET, Objects
from nova_hyper.manifest.problems import Problems

_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_INDEXED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def variables(
    container: Mapping[str, Any],
    metadata: Mapping[str, Any],
    objects: Objects,
    expansion: Expansion,
    path: str,
    problems: Problems,
) -> dict[str, str]:
    """Return the variables by name, in their order; ``env`` wins over ``envFrom``."""
    found: dict[str, str] = {}
    for index, source in enumerate(container.get("envFrom", ())):
        found.update(_all_of(source, objects, f"{path}.envFrom[{index}]", problems))
    for index, variable in enumerate(container.get("env", ())):
        where = f"{path}.env[{index}]"
        name = variable["name"]
        if "valueFrom" not in variable:
            try:
                found[name] = expansion.expand(variable.get("value", ""), found)
            except ValueError as exc:
                problems.add(f"{where}.value", str(exc))
                found[name] = ""
            continue
        if variable.get("value"):
            problems.add(where, "must have either value or valueFrom")
        value = _value_from(
            variable["valueFrom"], metadata, objects, f"{where}.valueFrom", problems
        )
        if value is not None:
            found[name] = value
    return found


def _all_of(
    source: Mapping[str, Any], objects: Objects, path: str, problems: Problems
) -> dict[str, str]:
    references = [
        (kind, source[key], f"{path}.{key}")
        for kind, key in ((CONFIG_MAP, "configMapRef"), (SECRET, "secretRef"))
        if key in source
    ]
    if len(references) != 1:
        problems.add(path, "must have exactly one of configMapRef, secretRef")
        return {}
    ((kind, reference, where),) = references
    optional = reference.get("optional", False)
    data = objects.find(kind, reference["name"], optional, f"{where}.name", problems)
    found = {}
    for key, value in data.items():
        name = source.get("prefix", "") + key
        # As in Kubernetes, keys that cannot be names of variables are left out.
        if _NAME.fullmatch(name):
            text = _text(value, f"{where}: the key {key}", problems)
            if text is not None:
                found[name] = text
    return found


def _value_from(
    source: Mapping[str, Any],
    metadata: Mapping[str, Any],
    objects: Objects,
    path: str,
    problems: Problems,
) -> str | None:
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], metadata, f"{path}.fieldRef", problems)
    kind, key = (
        (CONFIG_MAP, "configMapKeyRef")
        if "configMapKeyRef" in source
        else (SECRET, "secretKeyRef")
    )
    value = objects.value(kind, source[key], f"{path}.{key}", problems)
    return None if value is None else _text(value, f"{path}.{key}", problems)


def _field(field: str, metadata: Mapping[str, Any], path: str, problems: Problems) -> str | None:
    match = _INDEXED.fullmatch(field)
    if match is not None:
        value: str = metadata.get(match[1], {}).get(match[2], "")
        return value
    if "name" not in metadata:
        problems.add(f"{path}.fieldPath", "is metadata.name, which this Pod has not")
    return metadata.get("name")


def _text(value: bytes, path: str, problems: Problems) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        problems.add(path, "is no text, so it cannot be the value of a variable")
        return None
    return text
