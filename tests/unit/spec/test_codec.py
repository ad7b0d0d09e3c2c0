"""The JSON codec of what crosses the border."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from nova_hyper.spec import codec
from nova_hyper.spec.container import Container
from nova_hyper.spec.event import EventPage
from nova_hyper.spec.image import ImageConfig, Layer
from nova_hyper.spec.nic import Dns, Nic, NicKind
from nova_hyper.spec.pod import Mark, Pod, PodSpec, PodState
from tests.unit.daemon.api.test_document import EXAMPLES

VALUES = [value for values in EXAMPLES.values() for value in values]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_what_is_encoded_is_decoded_through_json(value):
    assert codec.decode(type(value), json.loads(json.dumps(codec.encode(value)))) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_the_encoding_is_plain(value):
    def check(plain: Any) -> None:
        assert plain is None or type(plain) in (dict, list, str, int, float, bool)
        for item in (
            plain.values() if type(plain) is dict else plain if type(plain) is list else ()
        ):
            check(item)

    check(codec.encode(value))


def test_a_member_that_a_newer_peer_has_is_ignored():
    assert codec.decode(Mark, {"stage": "a", "at_ns": 1, "colour": "red"}) == Mark("a", 1)


def test_a_member_that_an_older_peer_lacks_has_its_default():
    decoded = codec.decode(Container, {"name": "main", "image": "web"})
    assert decoded == Container("main", "web")
    assert codec.decode(ImageConfig, {}) == ImageConfig()


@pytest.mark.parametrize(
    ("cls", "data", "where"),
    [
        (Mark, {"stage": "a"}, "Mark.at_ns is missing"),
        (Mark, {"stage": 1, "at_ns": 1}, "Mark.stage: str is needed, not 1"),
        (Mark, {"stage": "a", "at_ns": "1"}, "Mark.at_ns: int is needed, not '1'"),
        (Mark, {"stage": "a", "at_ns": True}, "Mark.at_ns: int is needed, not True"),
        (Mark, {"stage": "a", "at_ns": None}, "Mark.at_ns: int is needed, not None"),
        (Mark, [], "Mark: an object is needed"),
        (Mark, None, "Mark: an object is needed"),
        (Nic, {"mac": "x", "kind": "wifi"}, "Nic.kind: 'wifi' is not a valid NicKind"),
        (Nic, {"mac": "x", "kind": []}, "Nic.kind"),
        (Nic, {"mac": "x", "kind": "tap", "offload": 1}, "Nic.offload: bool is needed"),
        (Dns, {"search": "example.org"}, "Dns.search: a list is needed"),
        (Dns, {"search": ["a", 2]}, r"Dns.search\[1\]: str is needed"),
        (ImageConfig, {"labels": []}, "ImageConfig.labels: an object is needed"),
        (ImageConfig, {"labels": {"a": 1}}, "ImageConfig.labels.a: str is needed"),
        (
            PodSpec,
            {"id": "x", "name": "y", "containers": [{"name": "a"}]},
            r"PodSpec.containers\[0\].image is missing",
        ),
        (Pod, {"spec": {}}, "Pod.spec.id is missing"),
        (EventPage, {"events": [3], "last": 1}, r"EventPage.events\[0\]: an object"),
    ],
)
def test_what_does_not_fit_is_named(cls, data, where):
    with pytest.raises(ValueError, match=where):
        codec.decode(cls, data)


def test_a_whole_number_is_a_number_of_seconds():
    pod = codec.encode(EXAMPLES["Pod"][0]) | {"created_at": 3}
    decoded = codec.decode(Pod, pod)
    assert (decoded.created_at, type(decoded.created_at)) == (3.0, float)


def test_null_is_none_where_it_may_be():
    assert codec.decode(Container, {"name": "a", "image": "b", "args": None}).args is None
    assert codec.decode(Container, {"name": "a", "image": "b", "args": []}).args == ()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", Path("/"), [Path("/")]])
def test_what_the_specification_does_not_use_is_refused(value):
    with pytest.raises(TypeError, match="does not cross the border"):
        codec.encode(value)


def test_enums_are_their_values():
    assert codec.encode({"a": NicKind.TAP, "b": [PodState.READY]}) == {"a": "tap", "b": ["ready"]}


def test_only_named_interfaces_are_replaced():
    spec = EXAMPLES["PodSpec"][0]
    assert spec.replaced(None, None) == spec
    assert spec.replaced((), None) == dataclasses.replace(spec, nics=())
    assert spec.replaced(None, Dns()) == dataclasses.replace(spec, dns=Dns())


def test_a_layer_that_an_image_has_twice_takes_its_room_once():
    layers = (Layer("sha256:1", 10, 30), Layer("sha256:2", 5, 7), Layer("sha256:1", 10, 30))
    image = dataclasses.replace(EXAMPLES["Image"][0], layers=layers)
    assert image.size == 15
    assert image.unpacked_size == 67
