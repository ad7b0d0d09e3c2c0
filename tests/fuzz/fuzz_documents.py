"""Fuzzer of what reads the JSON documents of an archive."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import atheris

from tests.fuzz.json_values import json_value, json_word

with atheris.instrument_imports(include=["nova_hyper.daemon.image", "nova_hyper.spec"]):
    from nova_hyper.daemon.image.archive import Contents, FoundImage, resolve
    from nova_hyper.daemon.image.pulled import Progress, resolve_pulled
    from nova_hyper.spec import codec
    from nova_hyper.spec.errors import ImageInvalid, ImageUnsuitable

_LAYER = "sha256:" + hashlib.sha256(b"").hexdigest()
_MEDIA = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "",
)
_WORDS = (
    *_MEDIA,
    *("Config", "RepoTags", "Layers", "manifests", "digest", "mediaType", "platform", "os"),
    *("architecture", "variant", "annotations", "artifactType", "config", "layers", "rootfs"),
    *("type", "diff_ids", "created", "Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels"),
    *("StopSignal", "ExposedPorts", "Volumes", "Healthcheck", "Test", "Interval", "Timeout"),
    *("Retries", "StartPeriod", "linux", "amd64", "unknown", "a.json", "layer.tar", _LAYER),
    "org.opencontainers.image.ref.name",
)


_STRINGS = ("User", "WorkingDir", "StopSignal")
_LISTS = ("Entrypoint", "Cmd", "Env")
_SETS = ("ExposedPorts", "Volumes", "Labels")


def _document(data: atheris.FuzzedDataProvider) -> bytes:
    if data.ConsumeIntInRange(0, 9) == 0:
        return bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, 200)))
    return json.dumps(json_value(data, _WORDS)).encode()


def _config(data: atheris.FuzzedDataProvider) -> bytes:
    """Return a configuration that is mostly right, so that all of it is read."""
    execution: dict[str, Any] = {}
    for key in _STRINGS:
        execution[key] = json_word(data, _WORDS)
    for key in _LISTS:
        execution[key] = [json_word(data, _WORDS)] * data.ConsumeIntInRange(0, 2)
    for key in _SETS:
        execution[key] = {json_word(data, _WORDS): json_word(data, _WORDS)}
    test = [("CMD", "CMD-SHELL", "NONE", "x")[data.ConsumeIntInRange(0, 3)]]
    execution["Healthcheck"] = {"Test": test, "Interval": data.ConsumeInt(8), "Retries": 3}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [_LAYER] * data.ConsumeIntInRange(0, 3)},
        "config": execution,
    }
    for where in (execution, config):
        if data.ConsumeBool():
            where[json_word(data, _WORDS)] = json_value(data, _WORDS)
    return json.dumps(config).encode()


def _index(data: atheris.FuzzedDataProvider, digests: list[str]) -> bytes:
    descriptors = []
    for _ in range(data.ConsumeIntInRange(0, 4)):
        descriptor = {
            "digest": digests[data.ConsumeIntInRange(0, len(digests) - 1)],
            "mediaType": _MEDIA[data.ConsumeIntInRange(0, len(_MEDIA) - 1)],
        }
        if data.ConsumeBool():
            descriptor[json_word(data, _WORDS)] = json_value(data, _WORDS)
        descriptors.append(descriptor)
    return json.dumps({"manifests": descriptors}).encode()


def _oci_manifest(config: str) -> bytes:
    layers = [{"digest": _LAYER}]
    return json.dumps({"config": {"digest": config}, "layers": layers}).encode()


def _put(contents: Contents, name: str, blob: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    contents.documents[name] = (digest, blob)
    contents.by_digest[digest] = blob
    return digest


def one_input(raw: bytes) -> None:
    """Find the image in documents made from *raw*: one that can be encoded, or a refusal."""
    data = atheris.FuzzedDataProvider(raw)
    contents = Contents(complete=True, layers={"layer.tar": _LAYER, _LAYER: _LAYER})
    docker = data.ConsumeBool()
    _put(contents, "a.json", _config(data))
    digests = [contents.documents["a.json"][0]]
    digests.append(_put(contents, "b.json", _oci_manifest(digests[0])))
    digests.append(_put(contents, "c.json", _document(data)))
    digests.append(_put(contents, "d.json", _index(data, digests)))
    if data.ConsumeIntInRange(0, 9) == 0:
        _put(contents, "manifest.json" if docker else "index.json", _document(data))
    elif docker:
        layers = ["layer.tar"] * data.ConsumeIntInRange(0, 3)
        tags = json_value(data, _WORDS) if data.ConsumeBool() else [json_word(data, _WORDS)]
        entry = {"Config": "a.json", "Layers": layers, "RepoTags": tags}
        _put(contents, "manifest.json", json.dumps([entry]).encode())
    else:
        _put(contents, "index.json", _index(data, digests))
    top = digests[data.ConsumeIntInRange(0, len(digests) - 1)]
    _check(FoundImage, lambda: resolve(contents, "amd64", None))
    _check(Progress, lambda: resolve_pulled(contents.by_digest, top, "amd64"))


def _check(cls: type, find: Callable[[], Any]) -> None:
    """Whatever is found crosses the border to hyperd unchanged."""
    try:
        found = find()
    except (ImageInvalid, ImageUnsuitable) as exc:
        assert len(exc.message) < 2000
        return
    wire = json.loads(json.dumps(codec.encode(found)))
    assert codec.decode(cls, wire) == found


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
