from __future__ import annotations

import stat

import pytest
from oslo_config import cfg

from cloud import config, nova
from cloud.site import Site


@pytest.fixture
def rendered(site):
    paste = site.venv / "etc/nova"
    paste.mkdir(parents=True)
    (paste / "api-paste.ini").write_text("[composite:osapi]\n")
    config.render(site, "netdev")
    return site


@pytest.mark.parametrize("file", [name for name in config.FILES if name.endswith(".conf")])
def test_every_file_is_complete_and_only_root_can_read_it(rendered, file):
    path = rendered.etc / file
    assert "$" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "file", [name for name in config.FILES if name.endswith(".conf") and "rabbit" not in name]
)
def test_every_service_configuration_parses(rendered, file):
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(str(rendered.etc / file), sections).parse()
    assert sections


def test_nova_compute_has_no_database(rendered):
    for file in ("nova.conf", "nova-compute.conf"):
        assert "mysql" not in (rendered.etc / "nova" / file).read_text()


@pytest.mark.parametrize(
    ("driver", "line"),
    [
        ("hyper", "compute_driver = hyper.HyperDriver"),
        ("fake", "compute_driver = fake.FakeDriverWithoutFakeNodes"),
    ],
)
def test_the_driver_is_the_one_asked_for(rendered, driver, line):
    config.render(Site(rendered.home, driver), "netdev")
    assert line in (rendered.etc / "nova/nova-compute.conf").read_text().splitlines()


def test_rendering_again_touches_nothing(rendered):
    before = {p: p.stat().st_mtime_ns for p in rendered.etc.rglob("*.conf")}
    config.render(rendered, "netdev")
    assert {p: p.stat().st_mtime_ns for p in rendered.etc.rglob("*.conf")} == before


def test_passwords_differ_between_sites_and_stay_with_one(site, tmp_path):
    other = Site(tmp_path / "other")
    assert site.passwords != other.passwords
    assert site.passwords == Site(site.home).passwords
    assert len(set(site.passwords.values())) == len(site.passwords)
    assert stat.S_IMODE((site.etc / "passwords.json").stat().st_mode) == 0o600


def test_consoles_are_reached_by_the_proxy_that_users_are_told(rendered):
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(str(rendered.etc / "nova/nova.conf"), sections).parse()
    console = {name: value for name, (value,) in sections["serial_console"].items()}
    assert console["enabled"] == "true"
    assert (
        console["base_url"] == f"ws://{console['serialproxy_host']}:{console['serialproxy_port']}/"
    )
    (proxy,) = [s for s in nova.control(rendered) if s.name == "nova-serialproxy"]
    assert rendered.etc / "nova/nova.conf" in proxy.inputs
