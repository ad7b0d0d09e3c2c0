"""JSON codec of the specification dataclasses.

Every type that crosses the border between ``nova-compute`` and ``hyperd`` is a
frozen dataclass of JSON-compatible fields.  :func:`encode` and :func:`decode`
convert between such a value and what :mod:`json` reads and writes.

Decoding ignores unknown keys, so that a newer peer can add a field; a field
without a default is required.  Requests are validated against the OpenAPI
document before they get here: decoding is for values already checked.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return *value* as plain JSON types (dict, list, str, int, float, bool, None).

    :raises TypeError: for a type that the specification does not use.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} does not cross the border")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(cls: type[T], data: Any) -> T:
    """Return the *cls* that *data* describes; the inverse of :func:`encode`.

    :raises ValueError: when a required field is missing or has the wrong shape,
        naming the field.
    """
    value = _decode(cls, data, cls.__name__)
    return typing.cast(T, value)


def _decode(hint: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return None if data is None else _decode(inner[0], data, where)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise ValueError(f"{where}: a list is needed, not {data!r}")
        item = typing.get_args(hint)[0]
        return tuple(_decode(item, v, f"{where}[{i}]") for i, v in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{where}: an object is needed, not {data!r}")
        item = typing.get_args(hint)[1]
        return {str(k): _decode(item, v, f"{where}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(typing.cast(type, hint), data, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError as exc:
            raise ValueError(f"{where}: {exc}") from None
    if hint is float and isinstance(data, int):
        return float(data)
    if not isinstance(data, hint) or (isinstance(data, bool) and hint is not bool):
        raise ValueError(f"{where}: {hint.__name__} is needed, not {data!r}")
    return data


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: an object is needed, not {data!r}")
    hints = _hints(cls)
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _decode(
                hints[field.name], data[field.name], f"{where}.{field.name}"
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return cls(**values)
