import json

import pytest

from nova_hyper.daemon.image.config import oci_architecture, parse_config
from nova_hyper.daemon.image.digest import digest_in_name
from nova_hyper.spec.errors import ImageInvalid
from nova_hyper.spec.image import Healthcheck, ImageConfig

ID = "sha256:" + "a" * 64


def raw(config=None, **changes):
    data = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [ID]},
        **changes,
    }
    return json.dumps({k: v for k, v in data.items() if v is not ...}).encode()


def test_everything_that_a_container_needs_is_read():
    config = parse_config(
        raw(
            {
                "Entrypoint": ["/entry"],
                "Cmd": ["a", "b"],
                "Env": ["A=1", "B=x=y", "EMPTY"],
                "User": "web:www",
                "WorkingDir": "/srv",
                "StopSignal": "SIGQUIT",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Volumes": {"/data": {}},
                "Labels": {"k": "v"},
            },
            created="2024-01-01T00:00:00Z",
        )
    )
    assert config.diff_ids == (ID,)
    assert config.created == "2024-01-01T00:00:00Z"
    assert config.config == ImageConfig(
        entrypoint=("/entry",),
        cmd=("a", "b"),
        env=("A=1", "B=x=y", "EMPTY="),
        user="web:www",
        working_dir="/srv",
        stop_signal="SIGQUIT",
        exposed_ports=("53/udp", "80/tcp"),
        volumes=("/data",),
        labels={"k": "v"},
    )


@pytest.mark.parametrize("config", [None, {}, {"Cmd": None, "Entrypoint": None, "Env": None}])
def test_a_configuration_may_say_nothing(config):
    assert parse_config(raw(config)).config == ImageConfig()


def test_a_command_may_be_a_plain_string_as_once_it_was():
    assert parse_config(raw({"Cmd": "/run"})).config.cmd == ("/run",)


HEALTHCHECKS = {
    "a command": ({"Test": ["CMD", "/ok", "-v"]}, Healthcheck(("CMD", "/ok", "-v"))),
    "a shell line": (
        {"Test": ["CMD-SHELL", "true || x"]},
        Healthcheck(("CMD-SHELL", "true || x")),
    ),
    "times in nanoseconds": (
        {
            "Test": ["CMD", "/ok"],
            "Interval": 1_500_000_000,
            "Timeout": 2_000_000_000,
            "StartPeriod": 3_000_000_000,
            "Retries": 7,
        },
        Healthcheck(("CMD", "/ok"), 1.5, 2.0, 3.0, 7),
    ),
    "zeros, which are not said": (
        {"Test": ["CMD", "/ok"], "Interval": 0, "Timeout": 0, "Retries": 0},
        Healthcheck(("CMD", "/ok")),
    ),
    "one switched off": ({"Test": ["NONE"]}, None),
    "an inherited one": ({"Test": []}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("data", "expected"), HEALTHCHECKS.values(), ids=HEALTHCHECKS)
def test_a_healthcheck_is_read(data, expected):
    assert parse_config(raw({"Healthcheck": data})).config.healthcheck == expected


@pytest.mark.parametrize(
    "data",
    [
        {"Test": ["RUN", "x"]},
        {"Test": ["CMD"]},
        {"Test": ["CMD", "a\0b"]},
        {"Test": "x"},
        {"Test": ["CMD", "x"], "Interval": -1},
        {"Test": ["CMD", "x"], "Retries": "3"},
    ],
)
def test_a_healthcheck_that_cannot_be_is_refused(data):
    with pytest.raises(ImageInvalid, match="Healthcheck"):
        parse_config(raw({"Healthcheck": data}))


BAD = {
    "no JSON": (b"\xff\xfe", "the image configuration is not valid JSON"),
    "a list": (b"[]", "the image configuration is not an object"),
    "no layers": (raw(rootfs=...), "has no rootfs"),
    "other layers": (raw(rootfs={"type": "disk"}), "not of type layers"),
    "a diff ID of another kind": (
        raw(rootfs={"type": "layers", "diff_ids": ["md5:00"]}),
        "the diff ID 'md5:00', not one of sha256",
    ),
    "a number for a command": (raw({"Cmd": 1}), "Cmd is not a list"),
    "a NUL in a command": (raw({"Cmd": ["a\0b"]}), "Cmd .* has a NUL character"),
    "a NUL in a variable": (raw({"Env": ["A=\0"]}), "Env .* has a NUL character"),
    "labels that are a list": (raw({"Labels": ["a"]}), "Labels is not an object"),
    "a huge number": (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_configuration_that_is_none_is_refused(case):
    blob, message = BAD[case]
    with pytest.raises(ImageInvalid, match=message):
        parse_config(blob)


@pytest.mark.parametrize(
    ("host", "image"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")]
)
def test_architectures_are_called_as_images_call_them(host, image):
    assert oci_architecture(host) == image
    assert parse_config(raw(architecture=host)).architecture == image


HEX = "a" * 64
NAMES = {
    f"blobs/sha256/{HEX}": ID,
    f"{HEX}.tar": ID,
    f"{HEX}.json": ID,
    f"{HEX}": "",
    f"{HEX}/layer.tar": "",
    f"{HEX}.tar.gz": "",
    "manifest.json": "",
    f"{HEX[:-1]}g.tar": "",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_claims_a_digest_or_none(name):
    assert digest_in_name(name) == NAMES[name]
