"""The API over a core on fakes, as a WSGI client sees it."""

from __future__ import annotations

import dataclasses

import pytest
import werkzeug.test

from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.spec.errors import ImageInUse, ImageInvalid, ImageNotFound
from tests.unit.daemon import fakes
from tests.unit.fake_hyperd import HOST

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


@pytest.fixture
def images():
    return Images()


@pytest.fixture
def app(core, images):
    def host(pods):
        return dataclasses.replace(HOST, pods=pods)

    return App(Handlers(core.pods, images, core.events, host), MAX_BODY)


@pytest.fixture
def client(app):
    return werkzeug.test.Client(app)
