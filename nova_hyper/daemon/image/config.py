"""The configuration of an image (OCI image specification, config.md; docker's is the same)."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_hyper.daemon.image.digest import is_digest
from nova_hyper.daemon.image.document import a_string, an_object, parse_json, strings
from nova_hyper.spec.errors import ImageInvalid
from nova_hyper.spec.image import Healthcheck, ImageConfig

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armv7l": "arm",
    "armhf": "arm",
}
_MAX_LAYERS = 512
"""Four times what docker builds."""


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """What is read of a configuration; ``diff_ids`` go from the bottom layer up."""

    architecture: str
    os: str
    variant: str
    created: str
    diff_ids: tuple[str, ...]
    config: ImageConfig


def oci_architecture(name: str) -> str:
    """Return what images call the architecture *name* (``amd64`` for ``x86_64``)."""
    return _ARCHITECTURES.get(name, name)


def parse_config(raw: bytes) -> ConfigFile:
    """Return the configuration in the blob *raw*.

    A configuration without a command is fine here: a pod may bring its own.

    :raises ImageInvalid: when it is no image configuration.
    """
    data = an_object(parse_json(raw, "the image configuration"), "the image configuration")
    rootfs = an_object(data.get("rootfs"), "rootfs of the image configuration")
    if "rootfs" not in data:
        raise ImageInvalid("the image configuration has no rootfs: it is not of an image")
    if rootfs.get("type") != "layers":
        raise ImageInvalid("rootfs of the image configuration is not of type layers")
    diff_ids = strings(rootfs.get("diff_ids"), "diff_ids of the image configuration")
    if len(diff_ids) > _MAX_LAYERS:
        raise ImageInvalid(
            f"the image configuration lists {len(diff_ids)} layers; at most {_MAX_LAYERS} are "
            "possible"
        )
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise ImageInvalid(
                f"the image configuration has the diff ID {diff_id[:100]!r}, not one of sha256"
            )
    return ConfigFile(
        architecture=oci_architecture(a_string(data.get("architecture"), "architecture"))
        or "unknown",
        # Both are required, but some builders leave them out.
        os=a_string(data.get("os"), "os").lower() or "linux",
        variant=a_string(data.get("variant"), "variant"),
        created=a_string(data.get("created"), "created"),
        diff_ids=diff_ids,
        config=_execution(an_object(data.get("config"), "config")),
    )


def _execution(config: dict[str, Any]) -> ImageConfig:
    labels = an_object(config.get("Labels"), "Labels")
    return ImageConfig(
        entrypoint=_words(config, "Entrypoint"),
        cmd=_words(config, "Cmd"),
        # docker takes a bare name for an empty value.
        env=tuple(item if "=" in item else f"{item}=" for item in _words(config, "Env")),
        user=a_string(config.get("User"), "User"),
        working_dir=a_string(config.get("WorkingDir"), "WorkingDir"),
        stop_signal=a_string(config.get("StopSignal"), "StopSignal"),
        exposed_ports=_keys(config.get("ExposedPorts"), "ExposedPorts"),
        volumes=_keys(config.get("Volumes"), "Volumes"),
        labels={key: a_string(value, f"the label {key}") for key, value in labels.items()},
        healthcheck=_healthcheck(an_object(config.get("Healthcheck"), "Healthcheck")),
    )


def _healthcheck(data: dict[str, Any]) -> Healthcheck | None:
    """Return the check that an image asks for; None too where it switches one off (``NONE``)."""
    test = strings(data.get("Test"), "Test of the Healthcheck")
    if not test or test[0] == "NONE":
        return None
    if test[0] not in ("CMD", "CMD-SHELL") or len(test) == 1:
        raise ImageInvalid(
            "the Healthcheck of the image configuration is neither CMD, CMD-SHELL nor NONE "
            "with a command"
        )
    if any("\0" in word for word in test):
        raise ImageInvalid("the Healthcheck of the image configuration has a NUL character")
    return Healthcheck(
        test=test,
        interval_s=_seconds(data, "Interval", 30.0),
        timeout_s=_seconds(data, "Timeout", 30.0),
        start_period_s=_seconds(data, "StartPeriod", 0.0),
        # 0 is "not said", as for the times.
        retries=_whole(data, "Retries") or 3,
    )


def _seconds(data: dict[str, Any], key: str, default: float) -> float:
    return _whole(data, key) / 1e9 or default


def _whole(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ImageInvalid(f"{key} of the Healthcheck is not a positive whole number")
    return value


def _words(config: dict[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key)
    # Very old builders wrote a plain string for a command.
    words = (value,) if isinstance(value, str) and value else strings(value, key)
    if any("\0" in word for word in words):
        raise ImageInvalid(f"{key} of the image configuration has a NUL character")
    return words


def _keys(value: Any, what: str) -> tuple[str, ...]:
    # A set is an object with empty values; a list is tolerated, as docker does.
    if isinstance(value, list):
        return strings(value, what)
    return tuple(sorted(an_object(value, what)))
