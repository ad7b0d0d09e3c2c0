"""Reading of the JSON documents in an archive, which may hold anything."""

from __future__ import annotations

import json
from typing import Any

from nova_hyper.spec.errors import ImageInvalid


def parse_json(raw: bytes, what: str) -> Any:
    """Return the JSON value in *raw*.

    :param what: names the document in the message.
    :raises ImageInvalid: when it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ImageInvalid(f"{what} is not valid JSON ({str(exc)[:100]})") from None


def an_object(value: Any, what: str) -> dict[str, Any]:
    """Return *value*, which is an object; null counts as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ImageInvalid(f"{what} is not an object")
    return value


def a_list(value: Any, what: str) -> list[Any]:
    """Return *value*, which is a list; null counts as an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ImageInvalid(f"{what} is not a list")
    return value


def a_string(value: Any, what: str) -> str:
    """Return *value*, which is a string; null counts as an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ImageInvalid(f"{what} is not a string")
    return value


def strings(value: Any, what: str) -> tuple[str, ...]:
    """Return *value*, which is a list of strings; null counts as an empty one."""
    return tuple(a_string(item, f"an item of {what}") for item in a_list(value, what))
