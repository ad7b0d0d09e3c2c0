"""Which registries may be asked, and how."""

import pytest

from nova_hyper.daemon.image.registry.policy import RegistryPolicy, is_loopback
from nova_hyper.daemon.image.registry.reference import parse
from nova_hyper.spec.errors import PullRefused


@pytest.mark.parametrize(
    "allowed",
    [
        ("*",),
        ("quay.io",),
        ("docker.io", "quay.io"),
        ("quay.io/team",),
        ("quay.io/team/",),
        ("quay.io/team/web",),
    ],
)
def test_what_is_listed_is_allowed(allowed):
    RegistryPolicy(allowed).check(parse("quay.io/team/web:1"))


@pytest.mark.parametrize(
    "allowed",
    [
        ("docker.io",),
        ("quay.io/te",),
        ("quay.io/other",),
        ("quay.i",),
        ("quay.io:443",),
        ("team/web",),
        ("",),
    ],
)
def test_what_is_not_listed_is_refused_by_the_option_to_change(allowed):
    with pytest.raises(PullRefused, match=r"add quay.io to \[image\] allowed_registries"):
        RegistryPolicy(allowed).check(parse("quay.io/team/web:1"))


def test_without_a_list_nothing_is_pulled():
    with pytest.raises(PullRefused, match="which is empty: pulling is off"):
        RegistryPolicy().check(parse("nginx"))


def test_plain_http_is_for_listed_loopback_registries_only():
    policy = RegistryPolicy(("*",), ("localhost:5000", "registry.example:5000"))
    assert policy.scheme("localhost:5000") == "http"
    assert policy.scheme("localhost:5001") == "https"
    assert policy.scheme("registry.example:5000") == "https"
    policy.check(parse("localhost:5000/x"))
    with pytest.raises(PullRefused, match="not a loopback address"):
        policy.check(parse("registry.example:5000/x"))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1", "127.8.9.1:5000", "[::1]", "[::1]:5000"]
)
def test_this_machine_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1:5000", "localhost.example", "[::2]:1", "127.0.0.1.x"])
def test_other_machines_are_not(host):
    assert not is_loopback(host)
