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
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_PLAIN = frozenset((str, int, float, bool, type(None)))


def encode(value: Any) -> Any:
    """Return *value* as plain JSON types (dict, list, str, int, float, bool, None).

    :raises TypeError: for a type that the specification does not use.
    """
    cls: Any = type(value)
    return value if cls in _PLAIN else _encoder(cls)(value)


# A hundred pods have some ten thousand fields, so what is known of a type is found out once.
@functools.cache
def _encoder(cls: type) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(cls):
        return _dataclass_encoder(cls)
    if issubclass(cls, enum.Enum):
        return lambda value: value.value
    if issubclass(cls, dict):
        return lambda value: {str(k): encode(v) for k, v in value.items()}
    if issubclass(cls, list | tuple):
        return lambda value: [encode(v) for v in value]
    if issubclass(cls, str | int | float):
        return lambda value: value
    raise TypeError(f"{cls.__name__} does not cross the border")


def _dataclass_encoder(cls: type) -> Callable[[Any], Any]:
    names = tuple(f.name for f in dataclasses.fields(cls))
    if len(names) < 2:  # attrgetter gives a tuple only of several
        return lambda value: {name: encode(getattr(value, name)) for name in names}
    fields = operator.attrgetter(*names)
    return lambda value: {
        name: field if type(field) in _PLAIN else encode(field)
        for name, field in zip(names, fields(value), strict=True)
    }


class _Misfit(ValueError):
    """What does not fit, and where: the path grows while the error goes up."""

    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.where = where

    def within(self, step: str) -> _Misfit:
        return _Misfit(self.why, step + self.where)


def decode(cls: type[T], data: Any) -> T:
    """Return the *cls* that *data* describes; the inverse of :func:`encode`.

    :raises ValueError: when a required field is missing or has the wrong shape,
        naming the field.
    """
    hint: Any = cls
    try:
        return typing.cast(T, _decoder(hint)(data))
    except _Misfit as exc:
        raise ValueError(f"{cls.__name__}{exc.where}{exc.why}") from None


@functools.cache
def _decoder(hint: Any) -> Callable[[Any], Any]:
    origin = typing.get_origin(hint)
    if hint is Any:
        return lambda data: data
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(hint) if a is not type(None))
        return _optional_decoder(_decoder(inner))
    if origin is tuple:
        return _tuple_decoder(_decoder(typing.get_args(hint)[0]))
    if origin is dict:
        return _dict_decoder(_decoder(typing.get_args(hint)[1]))
    if dataclasses.is_dataclass(hint):
        return _dataclass_decoder(typing.cast(type, hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum_decoder(hint)
    return _plain_decoder(hint)


def _optional_decoder(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: None if data is None else inner(data)


def _tuple_decoder(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decode_tuple(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple):
            raise _Misfit(f": a list is needed, not {data!r}")
        values: list[Any] = []
        try:
            for value in data:
                values.append(item(value))
        except _Misfit as exc:
            raise exc.within(f"[{len(values)}]") from None
        return tuple(values)

    return decode_tuple


def _dict_decoder(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decode_dict(data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise _Misfit(f": an object is needed, not {data!r}")
        values = {}
        for key, value in data.items():
            try:
                values[str(key)] = item(value)
            except _Misfit as exc:
                raise exc.within(f".{key}") from None
        return values

    return decode_dict


def _dataclass_decoder(cls: type) -> Callable[[Any], Any]:
    fields: list[tuple[str, bool]] = []
    for field in dataclasses.fields(cls):
        default = field.default is not dataclasses.MISSING
        fields.append((field.name, default or field.default_factory is not dataclasses.MISSING))
    decoders: dict[str, Callable[[Any], Any]] = {}

    def decode_dataclass(data: Any) -> Any:
        nonlocal decoders
        if not isinstance(data, dict):
            raise _Misfit(f": an object is needed, not {data!r}")
        if not decoders:  # not before the first use: a type may hold itself
            hints = typing.get_type_hints(cls)
            decoders = {name: _decoder(hints[name]) for name, _ in fields}
        values = {}
        for name, has_default in fields:
            if name in data:
                try:
                    values[name] = decoders[name](data[name])
                except _Misfit as exc:
                    raise exc.within(f".{name}") from None
            elif not has_default:
                raise _Misfit(" is missing", f".{name}")
        return cls(**values)

    return decode_dataclass


def _enum_decoder(cls: type[enum.Enum]) -> Callable[[Any], Any]:
    def decode_enum(data: Any) -> Any:
        try:
            return cls(data)
        except ValueError as exc:
            raise _Misfit(f": {exc}") from None

    return decode_enum


def _plain_decoder(cls: type) -> Callable[[Any], Any]:
    def decode_plain(data: Any) -> Any:
        if type(data) is cls:
            return data
        if cls is float and isinstance(data, int):
            return float(data)
        if not isinstance(data, cls) or (isinstance(data, bool) and cls is not bool):
            raise _Misfit(f": {cls.__name__} is needed, not {data!r}")
        return data

    return decode_plain
