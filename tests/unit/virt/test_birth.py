"""What a server is given before it runs."""

from __future__ import annotations

import base64
import dataclasses
from unittest import mock

import nova.conf
import pytest
from nova import exception as nova_exception
from nova import objects
from oslo_utils import secretutils

from nova_hyper import conf, exception
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable, GuestFailed
from nova_hyper.spec.pod import PodSpec
from nova_hyper.virt import birth
from nova_hyper.virt.birth import Birth
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.virt.instances import UUID, image_meta, instance

conf.register(nova.conf.CONF, conf.list_nova_opts())
KEY = "ssh-ed25519 AAAA me@example.org"


@pytest.fixture
def hyperd():
    made = FakeHyperd()
    made.import_image("busybox", [b"archive"])
    made.create_pod(PodSpec(UUID, "web", (Container("main", "busybox"),)))
    return made


@pytest.fixture
def given(hyperd):
    """``given(...)``: what the pod was given, None for nothing."""

    def give(key=None, image=None, files=(), password=None):
        server = instance(key_data=key)
        Birth(hyperd).give(server, image or image_meta(), list(files), password)
        return (hyperd.given.get(UUID) or [None])[-1]

    return give


def is_hash_of(password, text):
    return secretutils.crypt_password(password, text) == text


def test_a_password_leaves_nova_as_a_hash_only(given):
    setup = given(password="se:cret 123 ü")
    assert setup.password.startswith("$6$")
    assert is_hash_of("se:cret 123 ü", setup.password)
    assert "cret" not in repr(setup)
    assert (setup.user, setup.keys, setup.files) == ("root", (), ())
    assert given(password="se:cret 123 ü").password != setup.password


def test_the_operator_may_leave_passwords_alone(given):
    with mock.patch.object(birth, "CONF") as options:
        options.hyper.inject_password = False
        assert given(password="secret") is None
        assert given(KEY, password="secret").password == ""


def test_a_guest_that_is_too_old_costs_a_password_that_nobody_asked_for_and_no_more(given, hyperd):
    too_old = GuestFailed("the guest's agent is too old", feature="setup")
    hyperd.fail_next["setup_pod"] = too_old
    assert given(password="secret") is None
    hyperd.fail_next["setup_pod"] = too_old
    with pytest.raises(GuestFailed):
        given(KEY, password="secret")
    hyperd.fail_next["setup_pod"] = GuestFailed("the guest ended")
    with pytest.raises(GuestFailed):
        given(password="secret")


def test_nothing_is_asked_of_hyperd_for_nothing(given, hyperd):
    assert given() is None
    assert "setup_pod" not in hyperd.calls


def test_files_are_the_roots_wherever_they_are_wanted(given):
    setup = given(files=[("/etc/motd", b"\0\xff"), ("relative", "text"), ("//two", b"")])
    assert [(f.path, base64.b64decode(f.data), f.mode) for f in setup.files] == [
        ("/etc/motd", b"\0\xff", 0o644),
        ("/relative", b"text", 0o644),
        ("/two", b"", 0o644),
    ]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (None, ()),
        ("", ()),
        (f"{KEY}\n", (KEY,)),
        (f"# mine\n\n  {KEY}\r\nssh-rsa BBBB\n", (KEY, "ssh-rsa BBBB")),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", ()),
    ],
)
def test_a_key_pair_is_its_lines(data, lines):
    assert birth.keys(instance(key_data=data)) == lines


def test_the_images_administrator_gets_them(given):
    image = image_meta(properties=objects.ImageMetaProps(os_admin_user="web"))
    # The fake's images have no such user, which is no failure.
    setup = given(KEY, image, password="secret")
    assert (setup.user, setup.keys) == ("web", (KEY,))


@pytest.fixture
def server():
    made = instance(key_data=KEY)
    with mock.patch.object(objects.Instance, "image_meta", image_meta()):
        yield made


def test_the_password_of_a_running_server_is_set(hyperd, server):
    hyperd.start_pod(UUID)
    Birth(hyperd).set_password(server, "other")
    (setup,) = hyperd.given[UUID]
    assert is_hash_of("other", setup.password)
    assert dataclasses.replace(setup, password="") == type(setup)()


def test_an_image_without_the_user_does_not_support_it(hyperd, server):
    admin = image_meta(properties=objects.ImageMetaProps(os_admin_user="web"))
    with (
        mock.patch.object(objects.Instance, "image_meta", admin),
        pytest.raises(nova_exception.SetAdminPasswdNotSupported),
    ):
        Birth(hyperd).set_password(server, "other")


def test_hyperds_errors_become_novas(hyperd, server):
    hyperd.fail_next["setup_pod"] = DaemonUnavailable("hyperd is away")
    with pytest.raises(exception.HyperdUnavailable):
        Birth(hyperd).set_password(server, "other")


def test_whoever_has_an_rsa_key_can_read_the_new_password(hyperd, server):
    server.key_data = "ssh-rsa AAAA"
    with (
        mock.patch("nova.crypto.ssh_encrypt_text", return_value=b"encrypted") as encrypt,
        mock.patch.object(objects.Instance, "save") as save,
    ):
        Birth(hyperd).set_password(server, "other")
    encrypt.assert_called_once_with("ssh-rsa AAAA", "other")
    assert base64.b64decode(server.system_metadata["password_0"]) == b"encrypted"
    save.assert_called_once_with()
