"""Errors on the wire."""

from __future__ import annotations

import json

import pytest

from nova_hyper.spec import errors
from nova_hyper.spec.errors import Conflict, HyperError, PodExists, PodNotFound, from_wire

CLASSES = list(errors._all(HyperError).values())


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_as_what_it_was(cls):
    wire = json.loads(json.dumps(cls("it failed; do this", size=3).to_wire()))
    back = from_wire(wire, cls.status)
    assert type(back) is cls
    assert (str(back), back.message, back.details) == (
        "it failed; do this",
        "it failed; do this",
        {"size": 3},
    )


def test_codes_are_unique():
    everyone = [HyperError]
    for cls in everyone:
        everyone.extend(cls.__subclasses__())
    ours = [cls for cls in everyone if cls.__module__ == errors.__name__]
    assert len({cls.code for cls in ours}) == len(ours)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_says_what_it_means(cls):
    assert cls.__doc__
    assert 400 <= cls.status < 600


def test_a_special_error_is_also_the_general_one():
    assert isinstance(PodExists("x"), Conflict)
    assert isinstance(from_wire(PodNotFound("x").to_wire(), 404), errors.NotFound)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "status 502"),
        ("bad gateway", "status 502"),
        ([], "status 502"),
        ({}, "status 502"),
        ({"error": "x"}, "status 502"),
        ({"error": {}}, "status 502"),
        ({"error": {"code": "of_tomorrow", "message": "new"}}, "new"),
        ({"error": {"code": ["x"], "message": 5, "details": "none"}}, "5"),
    ],
)
def test_what_is_not_ours_is_a_plain_error(data, message):
    error = from_wire(data, 502)
    assert type(error) is HyperError
    assert message in error.message
    assert error.details == {}
