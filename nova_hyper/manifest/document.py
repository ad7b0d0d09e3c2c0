"""The YAML of a manifest: read within bounds, and told from other text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from nova_hyper.manifest.problems import ManifestInvalid

MAX_BYTES = 256 * 1024
"""A larger text is no manifest: Nova's user data has at most 48 KiB, etcd's objects 1.5 MiB."""
_MAX_DOCUMENTS = 64
_MAX_DEPTH = 32
_MAX_NUMBER = 64
_WHOLE = 2**63
# Where user data are for somebody else: cloud-init's formats, and scripts.
_FOREIGN = re.compile(r"#!|#cloud-|#include|#part-handler|#upstart-job|##\s*template:")
_KIND = re.compile(r"""^(?:kind|"kind"|'kind')\s*:\s*["']?Pod["']?\s*(?:#.*)?$""", re.MULTILINE)
_VERSION = re.compile(r"""^(?:apiVersion|"apiVersion"|'apiVersion')\s*:""", re.MULTILINE)
_TEXT = "tag:yaml.org,2002:str"
_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("map", "seq", "str", "int", "float", "bool", "null")}
_JSON_KIND = re.compile(r'"kind"\s*:\s*"Pod"')


class _Loader(yaml.SafeLoader):
    """YAML without aliases (a few bytes of them can mean gigabytes) and without dates.

    Numbers are JSON's, which Kubernetes makes of them first: 1e3 is a whole one.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {mark.line + 1}: aliases are not supported; write it out")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {_MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in _TAGS:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: the tag {node.tag[:60]!r} is not supported")
        if isinstance(node, yaml.ScalarNode) and node.tag != _TEXT:
            self._check_scalar(node)
        return node

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        line = node.start_mark.line + 1
        if len(node.value) > _MAX_NUMBER:
            raise yaml.YAMLError(f"line {line}: a number has more than {_MAX_NUMBER} digits")
        # With a tag of its own it may be anything.
        if self.resolve(yaml.ScalarNode, node.value, (True, False)) != node.tag:  # type: ignore[no-untyped-call]
            kind = node.tag.rpartition(":")[2]
            raise yaml.YAMLError(f"line {line}: {node.value!r} is not of the type !!{kind}")

    def construct_number(self, node: Any) -> int | float:
        value = float(self.construct_yaml_float(node))
        return int(value) if value.is_integer() and abs(value) < _WHOLE else value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _value in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {line}: the key {key!r} must be a string; quote it")
            if key in seen:
                raise yaml.YAMLError(f"line {line}: the key {key!r} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


# Kubernetes reads 2001-01-01 and 12:30:00 as text: its numbers are those of JSON. Values that
# YAML 1.1 alone takes for numbers (1_000, 1:30) are text as well; 0o17 is octal as 017 is.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if first not in {*"+-0123456789."}
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)$"),
    list("+-0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("+-.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def is_pod(data: bytes) -> bool:
    """Tell whether *data* are meant as a manifest of a Pod, be it right or wrong.

    Decided by the text alone, so that a manifest with an error in its YAML is
    refused with that error instead of being taken for something else.
    """
    if len(data) > MAX_BYTES or b"\0" in data:
        return False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    if _FOREIGN.match(text):
        return False
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith(("#", "---"))), "")
    if first.startswith("{"):
        return _JSON_KIND.search(text) is not None and '"apiVersion"' in text
    return _KIND.search(text) is not None and _VERSION.search(text) is not None


def load(data: bytes) -> list[dict[str, Any]]:
    """Return the documents in *data*, without what is null: that is as if it were absent.

    :raises ManifestInvalid: when it is no YAML of objects, or too much of it.
    """
    if len(data) > MAX_BYTES:
        raise ManifestInvalid(
            [f"it has {len(data)} bytes, more than the {MAX_BYTES} that are allowed"]
        )
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        documents = []
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(_present(loader.get_data()))
            if len(documents) > _MAX_DOCUMENTS:
                raise ManifestInvalid([f"it has more than {_MAX_DOCUMENTS} documents"])
    except UnicodeDecodeError as exc:
        raise ManifestInvalid([f"it is not UTF-8: {exc.reason} at byte {exc.start}"]) from None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ManifestInvalid([f"{where}{exc.problem or exc}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ManifestInvalid([f"it is not YAML: {exc}"]) from None
    documents = [d for d in documents if d is not None]
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict):
            raise ManifestInvalid([f"document {number} is no object with apiVersion and kind"])
    return documents


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(key): _present(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_present(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """Return *text* with the halves of a character that JSON escapes (U+D83D, U+DE00) as one.

    :raises yaml.YAMLError: when there is a half without the other.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise yaml.YAMLError(
            f"the text {text[:60]!a} has half of a character (a lone surrogate)"
        ) from None
