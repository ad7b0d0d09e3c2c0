"""Images from a real registry, through a real hyperd, as a user of hyperctl sees it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import tarfile

import pytest

from nova_hyper.spec.errors import HyperError, PullRefused, RegistryDenied, RegistryFailed
from nova_hyper.spec.usage import DiskUsage
from tests.functional import archives
from tests.functional.daemon import Daemon, wait_for
from tests.functional.registry import CuttingProxy, Registry

LARGE = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def archive(directory):
    """An image of two layers, one of them large enough to be cut."""
    layers = [archives.layer({"large": LARGE}), archives.layer({"small": b"small"})]
    return archives.write(directory / "two.tar", layers, {"Cmd": ["/large"]})


@pytest.fixture(scope="module")
def plain(directory):
    registry = Registry(directory / "plain")
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def guarded(directory):
    """With TLS, a certificate that nobody trusts, and a user."""
    registry = Registry(directory / "guarded", tls=True, password="right")
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def proxy(plain):
    proxy = CuttingProxy(plain.host, [1 << 20, 600_000])
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def stalling(plain):
    """What stops in the middle of a layer."""
    proxy = CuttingProxy(plain.host, stall=1 << 20)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def daemon(directory, plain, guarded, proxy, stalling):
    insecure = f"{plain.host}, {proxy.host}, {stalling.host}"
    (directory / "certs.d").mkdir()
    daemon = Daemon(
        directory,
        directory / "no-guest",
        "hyreg-",
        image__allowed_registries=f"{insecure}, {guarded.host}/open",
        image__insecure_registries=insecure,
        image__registry_ca_directory=str(directory / "certs.d"),
        image__registry_auth_file=str(directory / "auth.json"),
    )
    (directory / "auth.json").write_text("{}")
    daemon.start()
    yield daemon
    daemon.remove()


@pytest.fixture
def trusted(directory, guarded):
    """hyperd trusts the guarded registry's certificate."""
    place = directory / "certs.d" / guarded.host
    place.mkdir(exist_ok=True)
    (place / "ca.crt").write_bytes(guarded.crt.read_bytes())
    yield
    (place / "ca.crt").unlink()


@pytest.fixture(autouse=True)
def clean(daemon):
    """No image before a test, and nothing but images after one."""
    daemon.client.prune_images(everything=True)
    yield
    assert daemon.client.disk_usage().temporary == 0


def pull(daemon, ref, *credentials):
    *events, last = daemon.client.pull(ref, *credentials)
    assert last["event"] == "done"
    return last["image"], events


def states(events):
    return [event["state"] for event in events if event["event"] == "layer"]


def test_an_image_is_pulled_and_its_layers_are_not_pulled_again(daemon, plain, archive):
    ref = plain.push(archive, "two:1")
    shown = daemon.json("pull", ref)
    assert shown["names"] == [ref]
    assert daemon.client.image(ref).config.cmd == ("/large",)
    layers = {digest for digest, _ in plain.blobs()} - {shown["id"]}
    assert len(layers) == 2
    before = len(plain.blobs())
    image, events = pull(daemon, ref)
    assert image["id"] == shown["id"]
    assert states(events) == ["present", "present"]
    # Again only the configuration, which is what an image is known by.
    assert [digest for digest, _ in plain.blobs()[before:]] == [shown["id"]]


def test_layers_that_came_from_an_archive_are_not_pulled(daemon, plain, archive):
    loaded = daemon.json("load", str(archive))
    ref = plain.push(archive, "two:loaded")
    before = len(plain.blobs())
    image, events = pull(daemon, ref)
    assert image["id"] == loaded["id"]
    assert states(events) == ["present", "present"]
    assert [digest for digest, _ in plain.blobs()[before:]] == [loaded["id"]]


def test_an_image_in_use_by_digest_and_tag_is_one_image(daemon, plain, archive):
    ref = plain.push(archive, "two:digest")
    digest = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{ref}"],
            capture_output=True,
            check=True,
        ).stdout
    )["Digest"]
    by_tag, _ = pull(daemon, ref)
    by_digest, _ = pull(daemon, f"{plain.host}/two@{digest}")
    assert by_digest["id"] == by_tag["id"]
    assert set(by_digest["names"]) == {ref, f"{plain.host}/two@{digest}"}


def test_zstd_layers_are_pulled(daemon, plain, archive):
    ref = plain.push(archive, "two:zstd", "--dest-compress-format", "zstd", "--format", "oci")
    image, _ = pull(daemon, ref)
    assert image["id"].startswith("sha256:")
    assert len(image["layers"]) == 2


def test_of_a_manifest_list_the_image_for_this_host_is_taken(daemon, plain, directory):
    built = {}
    for arch in ("amd64", "arm64"):
        layer = archives.layer({f"for-{arch}": arch.encode()})
        path = directory / f"{arch}.tar"
        archives.write(path, [layer], {"Cmd": [f"/{arch}"]}, architecture=arch)
        built[arch] = plain.push(path, f"many:{arch}")
    manifests = []
    for arch, ref in built.items():
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{ref}"],
            capture_output=True,
            check=True,
        ).stdout
        manifests.append(
            {
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
                "size": len(raw),
                "platform": {"os": "linux", "architecture": arch},
            }
        )
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
    ref = plain.put_manifest("many:all", json.dumps(document).encode(), kind)
    image, _ = pull(daemon, ref)
    assert image["config"]["cmd"] == ["/amd64"]
    listed = plain.push(directory / "arm64.tar", "many:arm")
    with pytest.raises(HyperError, match="linux/arm64, but this host runs linux/amd64"):
        pull(daemon, listed)


def test_a_cut_connection_is_resumed_where_it_was_cut(daemon, plain, proxy, archive):
    ref = plain.push(archive, "two:cut").replace(plain.host, proxy.host)
    before = len(plain.blobs())
    image, _ = pull(daemon, ref)
    assert proxy.cut == 2
    answers = plain.blobs()[before:]
    assert [status for _, status in answers].count(206) >= 2
    large = max({digest for digest, _ in answers}, key=[d for d, _ in answers].count)
    assert next(status for digest, status in answers if digest == large) == 200
    assert {digest for digest, status in answers if status == 206} == {large}
    saved = b"".join(daemon.client.save_image(image["id"]))
    assert LARGE in saved


def test_a_certificate_that_nobody_trusts_is_refused(daemon, guarded, archive):
    ref = guarded.push(archive, "open/two:1")
    with pytest.raises(RegistryFailed, match=f"the certificate of {guarded.host} is not trusted"):
        pull(daemon, ref, "anna", "right")
    failed = daemon.ctl("pull", ref, check=False)
    assert failed.returncode == 1
    assert "registry_ca_directory" in failed.stderr


@pytest.mark.usefixtures("trusted")
def test_the_right_password_is_needed(daemon, guarded, archive, directory):
    ref = guarded.push(archive, "open/two:1")
    with pytest.raises(RegistryDenied, match="wants a user name and password"):
        pull(daemon, ref)
    with pytest.raises(RegistryDenied, match="refuses the user name or password"):
        pull(daemon, ref, "anna", "wrong")
    image, _ = pull(daemon, ref, "anna", "right")
    assert len(image["layers"]) == 2
    assert "right" not in daemon.log.read_text()


@pytest.mark.usefixtures("trusted")
def test_the_password_may_be_in_hyperds_file(daemon, guarded, archive, directory):
    ref = guarded.push(archive, "open/two:1")
    auth = {"auths": {guarded.host: {"auth": "YW5uYTpyaWdodA=="}}}
    (directory / "auth.json").write_text(json.dumps(auth))
    try:
        assert len(pull(daemon, ref)[0]["layers"]) == 2
    finally:
        (directory / "auth.json").write_text("{}")


def test_what_is_not_allowed_is_refused_before_anybody_is_asked(daemon, guarded):
    for ref in (f"{guarded.host}/other/x", "docker.io/library/nginx", "nginx"):
        with pytest.raises(PullRefused, match="allowed_registries"):
            pull(daemon, ref)
    failed = daemon.ctl("pull", "nginx", check=False)
    assert "this host may not pull from docker.io" in failed.stderr


def test_what_the_registry_does_not_have_is_said(daemon, plain):
    with pytest.raises(RegistryFailed, match=r"has no none with manifests/1"):
        pull(daemon, f"{plain.host}/none:1")


def test_a_blob_that_was_changed_in_the_registry_is_refused(daemon, plain, directory):
    layer = archives.layer({"victim": b"victim"})
    ref = plain.push(archives.write(directory / "v.tar", [layer], {}), "victim:1")
    for path in plain.data.rglob("blobs/**/data"):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b" and gzip.decompress(content) == layer:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(HyperError, match="something else than"):
        pull(daemon, ref)
    assert daemon.client.images() == ()


def stalled(daemon, plain, stalling, archive, tag):
    """Return a pull in the middle of its large layer, and its reference."""
    ref = plain.push(archive, f"two:{tag}").replace(plain.host, stalling.host)
    events = daemon.client.pull(ref)
    assert next(events)["event"] == "resolved"
    wait_for(lambda: daemon.client.disk_usage().temporary > 0)
    return ref, events


def test_nothing_is_left_of_a_pull_when_hyperd_is_killed(daemon, plain, stalling, archive):
    _, events = stalled(daemon, plain, stalling, archive, "killed")
    daemon.kill()
    daemon.start()
    events.close()
    usage = daemon.client.disk_usage()
    assert (usage.temporary, usage.images, usage.layer_bytes) == (0, (), 0)
    image, _ = pull(daemon, f"{plain.host}/two:killed")
    assert len(image["layers"]) == 2


def test_nothing_is_left_of_a_pull_that_its_client_gave_up(daemon, plain, stalling, archive):
    _, events = stalled(daemon, plain, stalling, archive, "left")
    events.close()
    stalling.stop()
    wait_for(lambda: daemon.client.disk_usage() == DiskUsage((), (), 0, 0, 0, 0))


def test_a_saved_image_can_be_pushed_and_pulled_again(daemon, plain, directory, archive):
    loaded = daemon.json("load", str(archive))
    saved = directory / "saved.tar"
    daemon.ctl("save", loaded["id"], str(saved))
    with tarfile.open(saved) as tar:
        assert "manifest.json" in tar.getnames()
    ref = plain.push(saved, "two:saved")
    daemon.client.prune_images(everything=True)
    assert pull(daemon, ref)[0]["id"] == loaded["id"]
