"""What a reference stands for, as docker and podman have it."""

import pytest

from nova_hyper.daemon.image.registry.reference import Reference, is_host, parse
from nova_hyper.spec.errors import InvalidRequest

DIGEST = "sha256:" + "a" * 64
GOOD = {
    "nginx": Reference("docker.io", "library/nginx", "latest", ""),
    "nginx:1.27": Reference("docker.io", "library/nginx", "1.27", ""),
    "team/web": Reference("docker.io", "team/web", "latest", ""),
    "docker.io/nginx": Reference("docker.io", "library/nginx", "latest", ""),
    "index.docker.io/library/nginx": Reference("docker.io", "library/nginx", "latest", ""),
    "quay.io/a/b/c:v1_2.3-x": Reference("quay.io", "a/b/c", "v1_2.3-x", ""),
    "localhost/x": Reference("localhost", "x", "latest", ""),
    "localhost:5000/x:1": Reference("localhost:5000", "x", "1", ""),
    "host:5000/x": Reference("host:5000", "x", "latest", ""),
    "127.0.0.1:5000/x": Reference("127.0.0.1:5000", "x", "latest", ""),
    "[::1]:5000/x": Reference("[::1]:5000", "x", "latest", ""),
    f"quay.io/a/b@{DIGEST}": Reference("quay.io", "a/b", "", DIGEST),
    f"quay.io/a/b:1@{DIGEST}": Reference("quay.io", "a/b", "1", DIGEST),
    "a/b__c.d-e--f": Reference("docker.io", "a/b__c.d-e--f", "latest", ""),
}
BAD = [
    "",
    ":1",
    "/x",
    "x/",
    "x//y",
    "UPPER",
    "quay.io/Upper",
    "x:",
    "x:-1",
    "x:" + "t" * 129,
    "x@sha256:abc",
    "x@md5:" + "a" * 32,
    "x y",
    "x\n",
    "a..b/c/x",
    "-bad.example/x",
    "bad-.example/x",
    "host:port.x/y",
    "host.x:123456/y",
    "quay.io/../x",
    "quay.io/a%2fb",
    "http://quay.io/x",
    "quay.io/x?y",
    "user@quay.io/x",
    "quay.io/" + "x" * 256,
]


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_what_is_left_out_is_filled_in(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidRequest, match="no reference to an image in a registry"):
        parse(text)


def test_the_whole_name_is_what_docker_stores():
    assert parse("nginx").name == "docker.io/library/nginx:latest"
    assert parse(f"quay.io/a:1@{DIGEST}").name == f"quay.io/a@{DIGEST}"


def test_docker_hub_is_asked_at_its_registry():
    assert parse("nginx").host == "registry-1.docker.io"
    assert parse("quay.io/a").host == "quay.io"


def test_a_digest_is_more_than_a_tag():
    assert parse(f"quay.io/a:1@{DIGEST}").target == DIGEST
    assert parse("quay.io/a:1").target == "1"


@pytest.mark.parametrize("text", ["a.example", "a:1", "[::1]:2", "10.0.0.1"])
def test_a_host_is_a_host(text):
    assert is_host(text)


@pytest.mark.parametrize("text", ["", "..", "a/b", "u@a", "a:", "a b", "[x]"])
def test_anything_else_is_none(text):
    assert not is_host(text)
