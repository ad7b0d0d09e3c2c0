"""The manifest's schema: what has which shape, and a sentence for what has not."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from nova_hyper.manifest.problems import Problems, path_of

if TYPE_CHECKING:  # elsewhere at first use: it takes a third of hyperctl's time to start
    import jsonschema

_SHOWN = 60
_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of a Pod (``schema.yaml`` beside this file)."""
    text = resources.files(__package__).joinpath("schema.yaml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def check(document: dict[str, Any], kind: str, root: str, problems: Problems) -> None:
    """Add what in *document* does not fit the schema of *kind*; paths begin with *root*."""
    for error in _validator(kind).iter_errors(document):
        for parts, sentence in _sentences(error):
            problems.add(path_of(parts, root), sentence)


@functools.cache
def _validator(kind: str) -> Any:
    import jsonschema

    found = {"$defs": schema()["$defs"], "$ref": f"#/$defs/{kind}"}
    extended = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})
    return extended(found)


def _pattern(
    _validator: Any, pattern: str, instance: Any, found: Any
) -> Iterator[jsonschema.ValidationError]:
    import jsonschema

    # Patterns of JSON Schema are ECMA 262's, where $ is only the end.
    exact = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(instance, str) and not re.search(exact, instance):
        yield jsonschema.ValidationError(f"must {found['description']}")


def _sentences(error: jsonschema.ValidationError) -> Iterator[tuple[list[str | int], str]]:
    parts = list(error.absolute_path)
    value, instance = error.validator_value, error.instance
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {})
            for key in sorted(set(instance) - set(known)):
                yield [*parts, key], "is not supported; remove it"
        case "required":
            for key in value:
                if key not in instance:
                    yield [*parts, key], "is missing"
        case "type":
            kinds = value if isinstance(value, list) else [value]
            wanted = " or ".join(
                _TYPES[kind] for kind in kinds if kind != "number" or len(kinds) < 2
            )
            quote = "; put it in quotes" if "string" in kinds and _is_scalar(instance) else ""
            yield parts, f"must be {wanted}, not {_show(instance)}{quote}"
        case "enum":
            wanted = ", ".join(item or '""' for item in value)
            yield parts, f"must be one of {wanted}, not {_show(instance)}"
        case "const":
            yield parts, f"can only be {json.dumps(value)}, not {_show(instance)}"
        case "pattern":
            yield parts, f"{error.message}, not {_show(instance)}"
        case "minProperties" | "maxProperties":
            known = ", ".join(k for k in error.schema["properties"] if k != "name")
            yield parts, f"must have exactly one of {known}"
        case "minimum":
            yield parts, f"must be at least {value}, not {_show(instance)}"
        case "maximum":
            yield parts, f"must be at most {value}, not {_show(instance)}"
        case "minItems" | "minLength":
            yield parts, "must not be empty"
        case "maxItems":
            yield parts, f"must have at most {value} items, not {len(instance)}"
        case "maxLength":
            yield parts, f"must have at most {value} characters, not {len(instance)}"
        case _:
            yield parts, f"is wrong: {error.message[:200]}"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
