"""Whom a connection to a registry trusts."""

import ssl
import subprocess

import pytest

from nova_hyper.daemon.image.registry.tls import context_for
from nova_hyper.spec.errors import HyperError


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    crt, key = directory / "c.crt", directory / "c.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=only-here", "-keyout", key, "-out", crt),
        ],
        check=True,
        capture_output=True,
    )
    return crt, key


def authorities(context):
    return [dict(part[0] for part in ca["subject"]) for ca in context.get_ca_certs()]


def test_the_certificate_of_the_other_side_is_always_checked(tmp_path):
    context = context_for("r.example:5000", tmp_path)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_authority_counts_for_its_registry_only(tmp_path, pair):
    place = tmp_path / "r.example:5000"
    place.mkdir()
    (place / "ca.crt").write_bytes(pair[0].read_bytes())
    here = authorities(context_for("r.example:5000", tmp_path))
    other = authorities(context_for("r.example", tmp_path))
    assert {"commonName": "only-here"} in here
    assert {"commonName": "only-here"} not in other


def test_a_certificate_of_our_own_needs_its_key(tmp_path, pair):
    place = tmp_path / "r.example"
    place.mkdir()
    (place / "client.cert").write_bytes(pair[0].read_bytes())
    with pytest.raises(HyperError, match=r"client.cert, which is for the registry r.example"):
        context_for("r.example", tmp_path)
    (place / "client.key").write_bytes(pair[1].read_bytes())
    assert context_for("r.example", tmp_path)


def test_a_file_that_is_no_certificate_is_an_error(tmp_path):
    place = tmp_path / "r.example"
    place.mkdir()
    (place / "ca.crt").write_text("no certificate")
    with pytest.raises(HyperError, match="cannot be used"):
        context_for("r.example", tmp_path)


def test_without_a_directory_the_system_decides(tmp_path):
    assert context_for("r.example", None)
    assert context_for("r.example", tmp_path / "none")
