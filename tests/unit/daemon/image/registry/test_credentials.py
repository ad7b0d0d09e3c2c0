"""Credentials from the files that docker login and podman login write."""

import base64
import json

import pytest

from nova_hyper.daemon.image.registry.credentials import Credentials, from_file
from nova_hyper.daemon.image.registry.reference import parse
from nova_hyper.spec.errors import HyperError


def entry(user, password="p"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def find(tmp_path):
    def find(data, ref):
        path = tmp_path / "auth.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return from_file(path, parse(ref))

    return find


@pytest.mark.parametrize(
    "key",
    ["quay.io", "https://quay.io", "https://quay.io/v1/", "quay.io/team", "quay.io/team/web"],
)
def test_an_entry_for_the_registry_or_a_part_of_it_is_found(find, key):
    assert find({"auths": {key: entry("anna")}}, "quay.io/team/web:1").username == "anna"


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_docker_hub_goes_by_its_old_name_too(find, key):
    assert find({"auths": {key: entry("anna")}}, "nginx").username == "anna"


def test_the_longest_entry_counts(find):
    auths = {"quay.io": entry("a"), "quay.io/team": entry("b"), "quay.io/team/other": entry("c")}
    assert find({"auths": auths}, "quay.io/team/web").username == "b"


def test_a_password_may_have_colons(find):
    found = find({"auths": {"quay.io": entry("anna", "a:b")}}, "quay.io/x")
    assert found == Credentials("anna", "a:b")
    assert "a:b" not in repr(found)


def test_tokens_and_plain_fields_are_understood(find):
    auths = {"quay.io": {"identitytoken": "t"}, "ghcr.io": {"username": "u", "password": "p"}}
    assert find({"auths": auths}, "quay.io/x") == Credentials("<token>", "t")
    assert find({"auths": auths}, "ghcr.io/x") == Credentials("u", "p")


@pytest.mark.parametrize("data", [{}, {"auths": {}}, {"auths": {"other": entry("x")}}])
def test_without_an_entry_nobody_is_found(find, data):
    assert find(data, "quay.io/x") is None


@pytest.mark.parametrize(
    "data",
    [
        "no json",
        "[]",
        {"auths": {"quay.io": {"auth": "!!!"}}},
        {"auths": {"quay.io": {"auth": base64.b64encode(b"secret").decode()}}},
        {"auths": {"quay.io": "x"}},
    ],
)
def test_a_file_that_is_something_else_is_an_error_that_tells_no_secret(find, data):
    with pytest.raises(HyperError, match="registry_auth_file") as raised:
        find(data, "quay.io/x")
    assert "secret" not in raised.value.message


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(HyperError, match="No such file"):
        from_file(tmp_path / "none", parse("quay.io/x"))
