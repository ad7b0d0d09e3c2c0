"""The data of Glance images, with signatures that Nova's own code verifies."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import nova.conf
import pytest
from cryptography.exceptions import InvalidSignature
from nova import exception as nova_exception
from nova import objects
from nova.image import glance
from oslo_config import fixture

from nova_hyper import exception
from nova_hyper.virt import download
from tests.unit.virt.instances import IMAGE_ID, instance

CERT = "0b5d2c72-12cc-4ba6-a8d7-3ff5cc1d8cb8"
DATA = [b"one", b"two"]


@pytest.fixture
def conf(tmp_path):
    with fixture.Config(nova.conf.CONF) as config:
        config.config(instances_path=str(tmp_path / "instances"))
        yield config


class Verifier:
    """cursive's: told all of the data, it says whether the signature fits."""

    def __init__(self, fits=True):
        self.fits = fits
        self.seen = b""

    def update(self, chunk):
        self.seen += chunk

    def verify(self):
        if not self.fits:
            raise InvalidSignature


@pytest.fixture
def service(conf):
    """Nova's image API over a Glance that has one image; ``verifier`` is what it verifies with."""
    client = mock.Mock()
    client.call.side_effect = lambda *args, **kwargs: Chunks()
    made = SimpleNamespace(verifier=None, asked=[], api=glance.API())

    def verifier(context, image_id, certs):
        made.asked.append(certs)
        return made.verifier

    session = glance.GlanceImageServiceV2(client)
    session._get_verifier = verifier
    with mock.patch.object(
        glance.API, "_get_session_and_image_id", lambda *args: (session, IMAGE_ID)
    ):
        yield made


class Chunks:
    """What glanceclient returns: read once, and then it is at its end."""

    wrapped = True

    def __init__(self):
        self._parts = iter(DATA)

    def __iter__(self):
        return self._parts


def test_without_certificates_data_are_streamed(service):
    assert list(download.chunks(service.api, None, IMAGE_ID)) == DATA


def test_a_signature_is_verified_by_nova_before_anything_comes(service):
    service.verifier = Verifier()
    data = download.chunks(service.api, None, IMAGE_ID, (CERT,))
    assert service.verifier.seen == b"onetwo"
    assert b"".join(data) == b"onetwo"
    assert list(service.asked[0].ids) == [CERT]


def test_nothing_comes_of_what_is_signed_wrongly(service):
    service.verifier = Verifier(fits=False)
    with pytest.raises(nova_exception.ImageUnacceptable, match="signature does not fit"):
        download.chunks(service.api, None, IMAGE_ID, (CERT,))


def test_an_operator_can_have_every_signature_verified(service, conf):
    conf.config(group="glance", verify_glance_signatures=True)
    service.verifier = Verifier()
    assert b"".join(download.chunks(service.api, None, IMAGE_ID)) == b"onetwo"


def test_a_glance_that_breaks_off_is_said_to_be():
    def broken():
        yield b"one"
        raise OSError("connection reset")

    api = SimpleNamespace(download=lambda context, image_id: broken())
    with pytest.raises(exception.ImageUnreadable, match="connection reset"):
        list(download.chunks(api, None, IMAGE_ID))


def test_the_certificates_are_the_servers_or_else_the_operators(conf):
    own = instance(trusted_certs=objects.TrustedCerts(ids=["mine"]))
    conf.config(group="glance", default_trusted_certificate_ids=["default"])
    assert download.certificates(own) == ("mine",)
    assert download.certificates(instance()) == ()
    conf.config(group="glance", enable_certificate_validation=True)
    assert download.certificates(instance()) == ("default",)
    assert download.certificates(own) == ("mine",)


def test_data_verified_with_other_certificates_have_another_name():
    assert download.mark(()) == ""
    assert download.mark(("a", "b")) == download.mark(("b", "a")) != download.mark(("a",))
