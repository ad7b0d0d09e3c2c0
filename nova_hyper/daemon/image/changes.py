"""Changes of an image's execution parameters, as ``docker commit --change`` takes them."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable
from typing import Any

from nova_hyper.spec.errors import InvalidRequest

_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
_MAX_PORT = 65535


def apply_changes(config: dict[str, Any], changes: tuple[str, ...]) -> None:
    """Change *config*, the ``config`` object of an image, by Dockerfile instructions.

    Known are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and
    WORKDIR, with the meaning that they have in a Dockerfile.

    :raises InvalidRequest: naming the change that cannot be.
    """
    verbs = []
    for change in changes:
        verb, _, rest = change.strip().partition(" ")
        verbs.append(verb.upper())
        instruction = _INSTRUCTIONS.get(verb.upper())
        if instruction is None:
            raise InvalidRequest(
                f"the change {change[:100]!r} is none of {', '.join(sorted(_INSTRUCTIONS))}"
            )
        try:
            instruction(config, rest.strip())
        except ValueError as exc:
            raise InvalidRequest(f"the change {change[:100]!r} cannot be: {exc}") from None
    if "ENTRYPOINT" in verbs and "CMD" not in verbs:
        # The arguments of another program.
        config.pop("Cmd", None)


def _command(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = _json_words(rest) if rest.startswith("[") else [*_SHELL, _some(rest)]

    return change


def _env(config: dict[str, Any], rest: str) -> None:
    known = dict(item.partition("=")[::2] for item in config.get("Env") or [])
    known.update(_pairs(rest))
    config["Env"] = [f"{key}={value}" for key, value in known.items()]


def _label(config: dict[str, Any], rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest)}


def _expose(config: dict[str, Any], rest: str) -> None:
    ports = dict.fromkeys(_keys(config.get("ExposedPorts")), None)
    for word in _some(rest).split():
        match = _PORT.fullmatch(word)
        if not match:
            raise ValueError(f"{word} is no port")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 < first <= last <= _MAX_PORT:
            raise ValueError(f"{word} is no port")
        ports.update((f"{port}/{match[3] or 'tcp'}", None) for port in range(first, last + 1))
    config["ExposedPorts"] = {port: {} for port in ports}


def _volume(config: dict[str, Any], rest: str) -> None:
    words = _json_words(rest) if rest.startswith("[") else _some(rest).split()
    config["Volumes"] = {path: {} for path in (*_keys(config.get("Volumes")), *words)}


def _workdir(config: dict[str, Any], rest: str) -> None:
    config["WorkingDir"] = posixpath.normpath(
        posixpath.join("/", config.get("WorkingDir") or "/", _some(rest))
    )


def _text(key: str) -> Callable[[dict[str, Any], str], None]:
    def change(config: dict[str, Any], rest: str) -> None:
        config[key] = _some(rest)

    return change


_INSTRUCTIONS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": _text("StopSignal"),
    "USER": _text("User"),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _some(rest: str) -> str:
    if not rest:
        raise ValueError("nothing follows")
    if "\0" in rest:
        raise ValueError("it has a NUL character")
    return rest


def _json_words(rest: str) -> list[str]:
    try:
        words = json.loads(rest)
    except (ValueError, RecursionError):
        raise ValueError("what follows is no JSON list") from None
    if not isinstance(words, list) or not all(isinstance(w, str) and "\0" not in w for w in words):
        raise ValueError("what follows is no JSON list of words")
    return words


def _pairs(rest: str) -> dict[str, str]:
    """Return what ``a=1 b="x y"``, or the old form ``a some words``, sets."""
    first, _, value = _some(rest).partition(" ")
    if "=" not in first:
        if not value.strip():
            raise ValueError("a value is missing")
        return {first: value.strip()}
    found = {}
    for word in shlex.split(rest):
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ValueError(f"{word} is not of the form key=value")
        found[key] = value
    return found


def _keys(value: Any) -> list[str]:
    return [key for key in value if isinstance(key, str)] if isinstance(value, dict | list) else []
