"""Images over the API: what lasts has a real server and client, the rest a WSGI client."""

import io
import json
import threading

import pytest

from nova_hyper.client import HyperClient
from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.server import Server
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec import codec
from nova_hyper.spec.errors import (
    HyperError,
    ImageNotFound,
    InvalidRequest,
    PullRefused,
    RegistryDenied,
)
from nova_hyper.spec.image import Image
from tests.unit.daemon import fakes
from tests.unit.daemon.image.archives import LAYER, F, docker_archive, tar_of


class Puller:
    """Tells three things and gives an image; ``error`` comes instead of the third."""

    def __init__(self):
        self.asked = []
        self.error = None
        self.hold = threading.Event()
        self.hold.set()
        self.cancelled = None
        self.talks = True

    def prepare(self, ref, username, password):
        if ref == "refused":
            raise PullRefused("this host may not pull that")
        self.asked.append((ref, username, password))
        return self

    def run(self, tell, cancelled):
        tell({"event": "resolved", "layers": []})
        while not self.hold.wait(0.01):
            if self.talks:
                tell({"event": "layer"})
            if cancelled.is_set():
                self.cancelled = True
                raise RuntimeError("cancelled")
        if self.error:
            raise self.error
        tell({"event": "layer", "state": "done"})
        return fakes.image(), True


@pytest.fixture
def puller():
    return Puller()


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images", max_image_bytes=1 << 24, max_layers=16, arch="amd64")


@pytest.fixture
def hyperd(core, streams, store, puller, tmp_path):
    handlers = Handlers(
        *(core.pods, core.sessions, store, core.events, None, core.power, core.boot_files),
        *(store.usage, core.consoles, core.setups, core.reshaping, core.restore_points),
        core.rescues,
    )
    app = App(
        handlers, StreamHandlers(core.sessions, store, puller, core.commits), streams, 1 << 20
    )
    server = Server(app, tmp_path / "s", "", threads=4)
    server.start()
    yield HyperClient(str(tmp_path / "s"), request_timeout=20, connect_timeout=0)
    streams.stop()
    server.stop()


def test_a_pull_tells_what_happens_and_ends_with_the_image(hyperd, puller):
    *before, last = hyperd.pull("web:1")
    assert [event["event"] for event in before] == ["resolved", "layer"]
    assert (last["event"], last["new"]) == ("done", True)
    assert codec.decode(Image, last["image"]) == fakes.image()
    assert puller.asked == [("web:1", "", "")]


def test_a_pull_brings_credentials(hyperd, puller):
    list(hyperd.pull("web:1", "anna", "secret"))
    assert puller.asked == [("web:1", "anna", "secret")]


def test_a_password_without_a_name_is_refused(hyperd):
    with pytest.raises(InvalidRequest, match="a password needs a username"):
        list(hyperd.pull("web:1", None, "secret"))


def test_a_pull_that_is_not_allowed_is_refused_at_once(hyperd):
    with pytest.raises(PullRefused, match="this host may not pull that"):
        list(hyperd.pull("refused"))


def test_a_pull_that_fails_in_the_middle_raises_its_own_error(hyperd, puller):
    puller.error = RegistryDenied("wrong password")
    events = []
    with pytest.raises(RegistryDenied, match="wrong password"):
        events.extend(hyperd.pull("web:1"))


@pytest.mark.parametrize("talks", [True, False])
def test_who_hangs_up_ends_the_pull(hyperd, puller, streams, talks):
    puller.hold.clear()
    puller.talks = talks
    pull = hyperd.pull("web:1")
    assert next(pull)["event"] == "resolved"
    pull.close()
    deadline = threading.Event()
    for _ in range(500):
        if not len(streams):
            break
        deadline.wait(0.02)
    assert puller.cancelled


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_a_saved_image_can_be_loaded(hyperd, store, form):
    layers = [LAYER, tar_of(("large", F, bytes(3 << 20)))]
    image, _ = store.import_archive(io.BytesIO(docker_archive(layers)), "web")
    data = b"".join(hyperd.save_image("web", form))
    store.delete("web")
    assert hyperd.import_image("again", [data]).id == image.id


def test_a_save_that_fails_in_the_middle_raises_its_own_error(hyperd, store):
    image, _ = store.import_archive(io.BytesIO(docker_archive([LAYER])), "web")
    path = store.layer_path(image.layers[0].diff_id)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(97)
        file.write(b"?")
    with pytest.raises(HyperError, match="damaged"):
        list(hyperd.save_image("web"))


def test_what_is_not_there_cannot_be_saved_or_tagged(hyperd):
    with pytest.raises(ImageNotFound):
        hyperd.save_image("nothing")
    with pytest.raises(ImageNotFound):
        hyperd.tag_image("nothing", "x")


def test_images_are_tagged_pruned_and_counted(hyperd, store):
    store.import_archive(io.BytesIO(docker_archive([LAYER])), "web")
    assert hyperd.tag_image("web", "a/b:c").names == ("a/b:c", "web")
    usage = hyperd.disk_usage()
    assert (len(usage.images), usage.layers) == (1, 1)
    assert hyperd.prune_images().images == ()
    assert hyperd.prune_images(everything=True).names == ("a/b:c", "web")
    assert hyperd.disk_usage().layer_bytes == 0


def test_an_unknown_format_is_refused(client):
    response = client.get("/v1/images/web/archive?format=zip")
    assert response.status_code == 400
    assert "zip" in json.loads(response.data)["error"]["message"]
