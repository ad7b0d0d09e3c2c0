"""Pulls from a registry that is slow, wrong, rude or hostile."""

import base64
import contextlib
import json
import os
import threading
import time

import pytest

from nova_hyper.daemon.image.registry import blob, session
from nova_hyper.daemon.image.registry.claims import Cancelled
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.puller import Puller
from nova_hyper.daemon.image.registry.session import RegistrySession
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import (
    HyperError,
    ImageInvalid,
    ImageUnsuitable,
    RegistryDenied,
    RegistryFailed,
    RegistryUnavailable,
)
from tests.unit.daemon.image.archives import LAYER, UPPER, F, compress, sha256, tar_of
from tests.unit.daemon.image.registry.fake_registry import FakeRegistry, send

LARGE = tar_of(("large", F, os.urandom(300_000)))


@pytest.fixture
def registry():
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images", max_image_bytes=1 << 24, max_layers=16, arch="amd64")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Tries follow each other at once."""
    monkeypatch.setattr(blob.tenacity, "wait_random_exponential", lambda **_: lambda _state: 0)


@pytest.fixture
def pull(registry, store):
    policy = RegistryPolicy(("*",), (registry.host,))
    puller = Puller(store, policy, "amd64", 1 << 20)

    def pull(name="web:1", username="", password="", cancelled=None, tell=lambda _event: None):
        prepared = puller.prepare(f"{registry.host}/{name}", username, password)
        return prepared.run(tell, cancelled or threading.Event())[0]

    return pull


def blob_path(layer, how="gzip"):
    return f"web/blobs/{sha256(compress(layer, how))}"


def nothing_is_left(store):
    return not store.list() and store.usage().layer_bytes == 0 == store.usage().temporary


# The image


@pytest.mark.parametrize("how", ["gzip", "zstd", ""])
def test_layers_come_however_they_are_compressed(registry, pull, how):
    registry.add("1", [LAYER, UPPER], how)
    image = pull()
    assert [layer.diff_id for layer in image.layers] == [sha256(LAYER), sha256(UPPER)]
    assert image.names == (f"{registry.host}/web:1",)


def test_a_layer_that_occurs_twice_is_downloaded_once(registry, pull):
    registry.add("1", [LAYER, UPPER, LAYER])
    pull()
    assert registry.count(blob_path(LAYER)) == 1


def test_two_pulls_at_once_download_a_layer_once(registry, pull):
    registry.add("1", [LARGE, LAYER])
    registry.add("2", [LARGE, UPPER])
    threads = [threading.Thread(target=pull, args=(f"web:{n}",)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.count(blob_path(LARGE)) == 1


def test_a_layer_compressed_in_another_way_is_not_downloaded_again(registry, pull):
    registry.add("1", [LAYER], "gzip")
    registry.add("2", [LAYER], "zstd")
    pull("web:1")
    pull("web:2")
    assert registry.count(blob_path(LAYER, "zstd")) == 0


def test_the_events_tell_the_story(registry, pull):
    registry.add("1", [LAYER])
    events = []
    image = pull(tell=events.append)
    assert events[0]["event"] == "resolved"
    assert events[0]["id"] == image.id
    assert [e["state"] for e in events[1:]] == ["downloading", "converting", "done"]
    assert events[1]["received"] == events[1]["size"] == len(compress(LAYER, "gzip"))


def test_an_image_for_other_machines_is_refused(registry, pull, store):
    registry.add("1", [LAYER], architecture="riscv64")
    with pytest.raises(ImageUnsuitable, match="linux/riscv64, but this host runs linux/amd64"):
        pull()
    assert nothing_is_left(store)


def index(*descriptors):
    return json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()


def described(registry, digest, arch, **more):
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(registry.manifests[digest]),
        "platform": {"os": "linux", "architecture": arch},
        **more,
    }


def test_of_an_index_only_what_is_for_this_host_is_asked_for(registry, pull):
    ours = registry.add("ours", [LAYER])
    other = registry.add("other", [UPPER], architecture="arm64")
    registry.manifests["1"] = index(
        described(registry, other, "arm64"),
        described(registry, ours, "amd64"),
        described(registry, other, "unknown"),
    )
    assert [layer.diff_id for layer in pull().layers] == [sha256(LAYER)]
    assert registry.count(other) == 0


def test_an_index_in_an_index_is_followed(registry, pull):
    ours = registry.add("ours", [LAYER])
    inner = index(described(registry, ours, "amd64"))
    registry.manifests[sha256(inner)] = inner
    kind = "application/vnd.oci.image.index.v1+json"
    registry.manifests["1"] = index({"mediaType": kind, "digest": sha256(inner), "size": 1})
    assert len(pull().layers) == 1


# What a registry may send


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(registry, pull, store):
    digest = registry.add("1", [LAYER])
    registry.manifests[digest] += b" "
    with pytest.raises(ImageInvalid, match="something else than"):
        pull(f"web@{digest}")
    assert nothing_is_left(store)


def test_a_manifest_that_is_not_what_its_header_says_is_refused(registry, pull):
    registry.add("1", [LAYER])
    headers = {"Docker-Content-Digest": sha256(b"other")}
    registry.odd["web/manifests/1"] = lambda h: send(h, 200, registry.manifests["1"], headers)
    with pytest.raises(ImageInvalid, match="something else than"):
        pull()


def test_a_manifest_without_an_end_is_refused(registry, pull):
    registry.odd["web/manifests/1"] = lambda h: send(h, 200, b" " * (5 << 20))
    with pytest.raises(RegistryFailed, match="larger than 4 MiB"):
        pull()


BAD_MANIFESTS = {
    "no JSON": (b"<html>", "not valid JSON"),
    "docker's first schema": (b'{"schemaVersion": 1}', "docker's first format"),
    "a chart": (
        json.dumps({"mediaType": "application/vnd.cncf.helm", "config": {}}).encode(),
        "no image",
    ),
    "nothing": (b"{}", "no image"),
    "an index of nothing": (b'{"manifests": []}', "no image"),
    "an index with odd digests": (b'{"manifests": [{"digest": "../x"}]}', "not one of sha256"),
}


@pytest.mark.parametrize(("raw", "message"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_what_is_no_manifest_is_refused(registry, pull, store, raw, message):
    registry.manifests["1"] = raw
    with pytest.raises(HyperError, match=message):
        pull()
    assert nothing_is_left(store)


def changed(registry, change):
    data = json.loads(registry.manifests["1"])
    change(data)
    registry.manifests["1"] = json.dumps(data).encode()


BAD_LAYERS = {
    "no size": (lambda m: m["layers"][0].pop("size"), "has no size"),
    "a negative size": (lambda m: m["layers"][0].update(size=-1), "size"),
    "a size too small": (lambda m: m["layers"][0].update(size=9), "larger than its manifest"),
    "too large a size": (lambda m: m["layers"][0].update(size=1 << 40), "max_image_gib"),
    "two sizes": (
        lambda m: m["layers"].append({**m["layers"].pop(), **m["layers"][0], "size": 9}),
        "two different sizes",
    ),
    "no digest": (lambda m: m["layers"][0].pop("digest"), "digest"),
    "a path as digest": (lambda m: m["layers"][0].update(digest="../../x"), "digest"),
    "one too few": (lambda m: m["layers"].pop(), "different layers"),
    "the wrong order": (lambda m: m["layers"].reverse(), "wrong content"),
}


@pytest.mark.parametrize(("change", "message"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_layers_that_are_not_as_described_are_refused(registry, pull, store, change, message):
    registry.add("1", [LAYER, UPPER])
    changed(registry, change)
    with pytest.raises(HyperError, match=message):
        pull()
    assert nothing_is_left(store)


def test_a_layer_of_other_content_is_refused(registry, pull, store):
    registry.add("1", [LAYER, UPPER])
    digest = sha256(compress(UPPER, "gzip"))
    registry.blobs[digest] = bytes(len(registry.blobs[digest]))
    with pytest.raises(ImageInvalid, match="something else than the blob"):
        pull()
    assert nothing_is_left(store)


# Connections


def cut_after(registry, path, digest, sizes):
    """Cut the answers for *path* after so many bytes each, then behave."""
    left = list(sizes)

    def answer(handler):
        if not left:
            return False
        data = registry.blobs[digest]
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        status = 206 if start else 200
        extra = {"Content-Range": f"bytes {start}-"} if start else {}
        return send(
            handler, status, data[start : start + left.pop(0)], extra, length=len(data) - start
        )

    registry.odd[path] = answer


def test_a_download_goes_on_where_it_was_cut(registry, pull):
    registry.add("1", [LARGE])
    digest = sha256(compress(LARGE, "gzip"))
    cut_after(registry, blob_path(LARGE), digest, [100_000, 0, 0, 0, 70_000, 0])
    pull()
    starts = [h.get("Range") for path, h in registry.requests if digest in path]
    assert starts[0] is None
    assert len(starts) == 7
    numbers = [int(start[6:-1]) for start in starts[1:]]
    assert numbers == sorted(numbers)
    assert 0 < numbers[0] <= 100_000


def test_a_registry_that_knows_no_ranges_is_read_again(registry, pull):
    registry.add("1", [LARGE])
    digest = sha256(compress(LARGE, "gzip"))
    data = registry.blobs[digest]
    first = iter([True])

    def answer(handler):
        if next(first, False):
            return send(handler, 200, data[:150_000], length=len(data))
        return send(handler, 200, data)

    registry.odd[blob_path(LARGE)] = answer
    assert len(pull().layers) == 1


def test_a_registry_that_sends_another_part_is_refused(registry, pull):
    registry.add("1", [LARGE])
    digest = sha256(compress(LARGE, "gzip"))
    data = registry.blobs[digest]

    def answer(handler):
        if "Range" not in handler.headers:
            return send(handler, 200, data[:150_000], length=len(data))
        return send(handler, 206, data[7:], {"Content-Range": "bytes 7-"})

    registry.odd[blob_path(LARGE)] = answer
    with pytest.raises(RegistryFailed, match="another part"):
        pull()


def test_a_connection_that_is_cut_again_and_again_is_given_up(registry, pull, store):
    registry.add("1", [LARGE])
    digest = sha256(compress(LARGE, "gzip"))
    cut_after(registry, blob_path(LARGE), digest, [100_000] + [0] * 50)
    with pytest.raises(RegistryFailed, match="was cut 5 times"):
        pull()
    assert registry.count(digest) == 6
    assert nothing_is_left(store)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_busy_is_asked_again(registry, pull, status):
    registry.add("1", [LAYER])
    busy = iter([status] * 3)

    def answer(handler):
        now = next(busy, None)
        return bool(now) and send(handler, now, b"")

    registry.odd[blob_path(LAYER)] = answer
    assert len(pull().layers) == 1


def test_nobody_there_is_said(registry, pull, store):
    registry.close()
    with pytest.raises(RegistryFailed, match="does not answer"):
        pull()
    assert nothing_is_left(store)


def test_a_pull_that_nobody_waits_for_ends(registry, pull, store):
    registry.add("1", [LARGE])
    cancelled = threading.Event()

    def tell(event):
        if event["event"] == "layer":
            cancelled.set()

    with pytest.raises(Cancelled):
        pull(cancelled=cancelled, tell=tell)
    assert nothing_is_left(store)


def trickle(handler):
    """Send a body of a MiB, a byte at a time, to whoever waits for it."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 20))
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.02)
    handler.close_connection = True
    return True


@pytest.mark.parametrize("what", ["manifests/1", "blobs"])
def test_a_registry_that_trickles_does_not_keep_a_pull_that_nobody_waits_for(
    registry, pull, store, what
):
    registry.add("1", [LARGE])
    path = blob_path(LARGE) if what == "blobs" else f"web/{what}"
    registry.odd[path] = trickle
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        pull(cancelled=cancelled)
    assert time.monotonic() - begun < 10
    assert nothing_is_left(store)


def test_a_token_server_that_trickles_is_given_up(registry, pull, monkeypatch):
    monkeypatch.setattr(session, "_TOKEN_S", 0.2)
    registry.add("1", [LAYER])
    registry.give_tokens()
    registry.odd["token"] = trickle
    with pytest.raises(RegistryUnavailable, match="takes more than"):
        pull()


# Authorization


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_token_is_fetched_once_and_used_for_everything(registry, pull):
    registry.add("1", [LAYER, UPPER])
    registry.give_tokens()
    pull()
    (path,) = [path for path, _ in registry.requests if "token" in path]
    assert "scope=repository%3Aweb%3Apull" in path
    assert "service=fake" in path


def test_credentials_go_to_the_token_server_and_nowhere_else(registry, pull):
    registry.add("1", [LAYER])
    registry.give_tokens(needs=basic("anna", "right"))
    pull(username="anna", password="right")
    for path, headers in registry.requests:
        if "token" not in path:
            assert headers.get("Authorization") in (None, "Bearer t")


def test_the_wrong_password_is_said(registry, pull):
    registry.add("1", [LAYER])
    registry.give_tokens(needs=basic("anna", "right"))
    with pytest.raises(RegistryDenied, match="refuses the user name or password"):
        pull(username="anna", password="wrong")
    with pytest.raises(RegistryDenied, match="wants a user name and password"):
        pull()


def test_a_token_that_expires_is_fetched_again(registry, pull):
    registry.add("1", [LAYER])
    registry.give_tokens("first")
    expire = iter([True])

    def answer(handler):
        if next(expire, False):
            registry.give_tokens("second")
        return False

    registry.odd[blob_path(LAYER)] = answer
    assert len(pull().layers) == 1
    assert registry.count("token") == 2


def test_a_token_that_is_never_good_enough_ends(registry, pull):
    registry.add("1", [LAYER])
    registry.give_tokens()
    registry.token = "Bearer other"
    with pytest.raises(RegistryDenied):
        pull()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}'])
def test_a_token_server_that_gives_none_is_said(registry, pull, body):
    registry.add("1", [LAYER])
    registry.give_tokens()
    registry.odd["token"] = lambda handler: send(handler, 200, body)
    with pytest.raises(RegistryFailed, match="answers with no token"):
        pull()


def test_basic_authorization_works_and_is_tried_once(registry, pull):
    registry.add("1", [LAYER])
    registry.token = basic("anna", "right")
    registry.challenge = lambda: 'Basic realm="x"'
    assert pull(username="anna", password="right")
    with pytest.raises(RegistryDenied):
        pull(username="anna", password="wrong")
    with pytest.raises(RegistryDenied, match="wants a user name"):
        pull()


# Leading away


@pytest.mark.parametrize(
    "realm",
    [
        "http://169.254.169.254/token",
        "http://localhost:1/token",
        "ftp://x.example/token",
        "file:///etc/passwd",
        "https://user@x.example/token",
        "//x.example/token",
        "https://[token",
        "",
    ],
)
def test_a_token_server_without_tls_is_not_asked(registry, pull, realm):
    registry.add("1", [LAYER])
    registry.give_tokens()
    registry.challenge = lambda: f'Bearer realm="{realm}"'
    with pytest.raises(RegistryFailed, match="not reached by HTTPS"):
        pull()


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest", "http://localhost:1/", "x://", "https://[x"]
)
def test_a_redirect_away_from_tls_is_not_followed(registry, pull, place):
    registry.add("1", [LAYER])
    registry.odd[blob_path(LAYER)] = lambda h: send(h, 307, b"", {"Location": place})
    with pytest.raises(RegistryFailed, match="not reached by HTTPS"):
        pull()


def test_a_redirect_on_the_same_host_is_followed(registry, pull):
    registry.add("1", [LAYER])
    data = compress(LAYER, "gzip")
    registry.odd["elsewhere"] = lambda handler: send(handler, 200, data)
    registry.odd[blob_path(LAYER)] = lambda h: send(h, 302, b"", {"Location": "/v2/elsewhere"})
    assert len(pull().layers) == 1


def test_redirects_end(registry, pull):
    registry.add("1", [LAYER])
    path = blob_path(LAYER)
    registry.odd[path] = lambda h: send(h, 302, b"", {"Location": f"/v2/{path}"})
    with pytest.raises(RegistryFailed, match="redirects without an end"):
        pull()


def test_another_host_does_not_get_the_authorization(registry, pull, monkeypatch):
    registry.add("1", [LAYER])
    registry.give_tokens()
    registry.odd[blob_path(LAYER)] = lambda h: send(
        h, 307, b"", {"Location": "https://cdn.example/blob"}
    )
    sent = []
    real = RegistrySession._request

    def request(self, url, headers):
        if "cdn.example" in url:
            sent.append(headers)
            raise RegistryFailed("no network")
        return real(self, url, headers)

    monkeypatch.setattr(RegistrySession, "_request", request)
    with pytest.raises(RegistryFailed, match="no network"):
        pull()
    assert sent
    assert all("Authorization" not in headers for headers in sent)
