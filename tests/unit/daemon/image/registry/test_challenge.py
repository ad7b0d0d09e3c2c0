"""WWW-Authenticate headers, good and odd."""

import pytest

from nova_hyper.daemon.image.registry.challenge import parse

CASES = {
    'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull"': {
        "bearer": {
            "realm": "https://auth.example/token",
            "service": "reg",
            "scope": "repository:a/b:pull",
        }
    },
    'BASIC Realm="x"': {"basic": {"realm": "x"}},
    'Basic realm="a, b", charset=UTF-8': {"basic": {"realm": "a, b", "charset": "UTF-8"}},
    'Negotiate, Bearer realm="x"': {"negotiate": {}, "bearer": {"realm": "x"}},
    'Bearer realm="a \\"quoted\\" word"': {"bearer": {"realm": 'a "quoted" word'}},
    "": {},
    '"': {},
    "Bearer realm=": {"bearer": {}},
}


@pytest.mark.parametrize(("header", "expected"), CASES.items())
def test_schemes_and_parameters_are_found(header, expected):
    found = parse(header)
    assert {key: found.get(key) for key in expected} == expected


def test_a_header_of_any_length_is_read_in_no_time():
    assert parse('Bearer realm="' + "\\" * 1_000_000) == {"bearer": {}}
    assert "bearer" in parse("Bearer " + "a=b," * 100_000)
