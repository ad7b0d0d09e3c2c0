"""The API over a core on fakes, as a WSGI client sees it."""

from __future__ import annotations

import dataclasses

import pytest
import werkzeug.test

from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.daemon.api.streams import Streams
from nova_hyper.spec.errors import ImageInUse, ImageInvalid, ImageNotFound
from nova_hyper.spec.usage import DiskUsage, ImageUsage, Pruned
from tests.unit.daemon import fakes
from tests.unit.fake_hyperd import HOST

USAGE = DiskUsage((ImageUsage("sha256:0", ("web:1",), 5, 5, 1),), (), 1, 5, 0, 0)
MAX_BODY = 64 * 1024


class Images:
    """The image store as the API uses it, in memory."""

    def __init__(self):
        self.images = [fakes.image()]
        self.imported = []

    def import_archive(self, stream, name=None):
        data = b""
        while part := stream.read(4096):
            data += part
        if not data.startswith(b"archive"):
            raise ImageInvalid("it is not an image archive")
        self.imported.append((name, len(data)))
        return fakes.image(names=(name,) if name else ()), len(self.imported) == 1

    def list(self):
        return self.images

    def get(self, ref):
        for image in self.images:
            if ref in (image.id, *image.names):
                return image
        raise ImageNotFound(f"there is no image {ref}")

    def delete(self, ref):
        if ref == "in/use:1":
            raise ImageInUse("a pod still needs it")
        self.images.remove(self.get(ref))

    def tag(self, ref, name):
        image = self.get(ref)
        self.images[self.images.index(image)] = made = dataclasses.replace(
            image, names=(*image.names, name)
        )
        return made

    def prune(self, everything=False):
        gone = [image for image in self.images if everything or not image.names]
        self.images = [image for image in self.images if image not in gone]
        return Pruned(tuple(image.id for image in gone), (), 7)


@pytest.fixture
def images():
    return Images()


@pytest.fixture
def streams():
    return Streams(4)


@pytest.fixture
def app(core, images, streams):
    def host(pods):
        return dataclasses.replace(HOST, pods=pods)

    handlers = Handlers(
        core.pods,
        core.sessions,
        images,
        core.events,
        host,
        core.power,
        core.boot_files,
        lambda: USAGE,
        core.consoles,
        core.setups,
        core.reshaping,
        core.restore_points,
        core.rescues,
    )
    return App(
        handlers, StreamHandlers(core.sessions, images, images, core.commits), streams, MAX_BODY
    )


@pytest.fixture
def client(app):
    return werkzeug.test.Client(app)
