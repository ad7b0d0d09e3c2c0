"""The OpenAPI document: served as it is, and what requests are checked against."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import jsonschema
import yaml

from nova_hyper.spec.errors import InvalidRequest

_METHODS = ("get", "post", "put", "patch", "delete")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_CASTS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": float,
    "boolean": _BOOLEANS.__getitem__,
}
_MESSAGE = 400


def _pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[jsonschema.ValidationError]:
    # Patterns of JSON Schema are ECMA 262's, where $ is only the end; Python's also matches
    # before a last newline.
    exact = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(instance, str) and not re.search(exact, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of API v1 (``openapi.yaml`` beside this file)."""
    text = resources.files(__package__).joinpath("openapi.yaml").read_text()
    # libyaml's parser takes a third of the time, and leaves less of hyperd's memory in pieces.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    return loaded


@dataclasses.dataclass(frozen=True)
class Operation:
    """One method of one path; ``body`` is the schema of its JSON body, None without one.

    ``stream`` is the document's ``x-stream``: the call lasts, and has its
    connection for itself.
    """

    id: str
    method: str
    path: str
    query: tuple[dict[str, Any], ...]
    body: dict[str, Any] | None
    body_required: bool
    stream: bool


def operations() -> list[Operation]:
    """Return every operation of the document."""
    found = []
    for path, item in document()["paths"].items():
        for method in _METHODS:
            if method not in item:
                continue
            spec = item[method]
            request = spec.get("requestBody", {})
            content = request.get("content", {}).get("application/json", {})
            found.append(
                Operation(
                    id=spec["operationId"],
                    method=method.upper(),
                    path=path,
                    query=tuple(
                        p for p in map(_resolved, spec.get("parameters", ())) if p["in"] == "query"
                    ),
                    body=content.get("schema"),
                    body_required=bool(request.get("required")),
                    stream=bool(spec.get("x-stream")),
                )
            )
    return found


def _resolved(parameter: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter, which may be one of the document's own that several operations share."""
    reference: str | None = parameter.get("$ref")
    if reference is None:
        return parameter
    found: dict[str, Any] = document()["components"]["parameters"][reference.rpartition("/")[2]]
    return found


@functools.cache
def _validator(pointer: str) -> Any:
    operation = next(o for o in operations() if o.id == pointer)
    # The schema's "#/components/..." references resolve in the document around it.
    schema = {"components": document()["components"], **(operation.body or {})}
    return _Validator(schema)


def parse_json(raw: bytes) -> Any:
    """Return what a JSON body says.

    :raises InvalidRequest: when it is not JSON as in RFC 8259, which has no NaN.
    """
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except ValueError as exc:
        raise InvalidRequest(f"the body is not JSON: {exc}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def check_body(operation: Operation, body: Any) -> None:
    """Refuse a JSON body that does not fit the document.

    :raises InvalidRequest: naming the member that is wrong.
    """
    error = jsonschema.exceptions.best_match(_validator(operation.id).iter_errors(body))
    if error is not None:
        where = error.json_path.removeprefix("$").removeprefix(".") or "the body"
        raise InvalidRequest(f"{where}: {_short(error.message)}")


def _short(message: str) -> str:
    """Return *message*, which repeats what the client sent, in a length for people."""
    if len(message) <= _MESSAGE:
        return message
    half = _MESSAGE // 2
    return f"{message[:half]} ... {message[-half:]}"


def check_query(operation: Operation, args: Mapping[str, str]) -> dict[str, Any]:
    """Return the typed query parameters, defaults filled in.

    :raises InvalidRequest: for an unknown parameter or a value that does not fit.
    """
    known = {p["name"]: p["schema"] for p in operation.query}
    for name in args:
        if name not in known:
            raise InvalidRequest(f"unknown query parameter {name}")
    values = {}
    for name, schema in known.items():
        if name not in args:
            values[name] = schema.get("default")
            continue
        try:
            value: Any = _CASTS.get(schema["type"], str)(args[name])
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(value)
        except (ValueError, KeyError):
            raise InvalidRequest(
                f"query parameter {name} must be of type {schema['type']}"
            ) from None
        for error in _Validator(schema).iter_errors(value):
            raise InvalidRequest(f"query parameter {name}: {_short(error.message)}")
        values[name] = value
    return values
