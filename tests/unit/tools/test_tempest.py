from __future__ import annotations

import configparser
import importlib
import stat
from pathlib import Path

import pytest

from cloud import config, tempest, tempest_report

REPO = Path(__file__).resolve().parents[3]
FOUND = {
    "image": "id-of-image",
    "image_alt": "id-of-image-alt",
    "flavor": "id-of-flavor",
    "flavor_alt": "id-of-flavor-alt",
    "network_extensions": "port-security,security-group",
}

MATRIX = {
    "pause": "operation.pause",
    "suspend": "operation.suspend",
    "snapshot": "operation.snapshot",
    "shelve": "operation.snapshot",
    "resize": "operation.resize",
    "rescue": "operation.rescue",
    "change_password": "operation.set-admin-password",
    "personality": "guest.setup.inject.file",
    "serial_console": "console.serial.interactive",
    "interface_attach": "operation.attach-interface",
    "live_migration": "operation.live-migrate",
    "vnc_console": "console.vnc",
    "spice_console": "console.spice",
    "attach_encrypted_volume": "operation.encrypted-volume",
    "swap_volume": "operation.swap-volume",
    "volume_multiattach": "operation.multiattach-volume",
}
"""Tempest's flags and the rows of the support matrix that say the same."""


@pytest.fixture
def rendered(site, tmp_path):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(tempest.configuration(site, FOUND, tmp_path / "results"))
    return parser


def test_every_option_is_one_of_tempest(rendered):
    from tempest.config import list_opts

    known = {
        (str(group.name if group else "DEFAULT"), option.dest.replace("-", "_"))
        for group, options in list_opts()
        for option in options
    }
    libraries = {("DEFAULT", "debug"), ("DEFAULT", "log_file"), ("oslo_concurrency", "lock_path")}
    ours = {
        (section, name)
        for section in rendered
        for name in rendered[section]
        if section == "DEFAULT" or name not in rendered.defaults()
    }
    assert ours - known == libraries


def test_what_the_cloud_has_is_in_it(site, rendered):
    assert rendered["auth"]["admin_password"] == site.passwords["admin"]
    assert rendered["compute"]["image_ref_alt"] == "id-of-image-alt"
    assert rendered["compute"]["flavor_ref"] == "id-of-flavor"
    assert rendered["network-feature-enabled"]["api_extensions"] == "port-security,security-group"


@pytest.mark.parametrize("flag", sorted(MATRIX))
def test_a_flag_is_true_when_the_support_matrix_says_so(rendered, flag):
    matrix = configparser.ConfigParser()
    matrix.read(REPO / "doc/source/support-matrix.ini")
    support = matrix[MATRIX[flag]]["driver.hyper-x86"]
    expected = {"complete": {True}, "missing": {False}, "partial": {True, False}}[support]
    assert rendered["compute-feature-enabled"].getboolean(flag) in expected


def test_the_second_flavor_is_the_larger_one():
    small, large = tempest.FLAVORS
    assert large.ram_mib > small.ram_mib
    assert large.disk_gib > small.disk_gib


def test_every_exclusion_names_a_test_and_says_why():
    for name, reason in tempest_report.exclusions(tempest.EXCLUDED).items():
        assert reason, name
        module, class_name, test = name.rsplit(".", 2)
        assert hasattr(getattr(importlib.import_module(module), class_name), test)


def program(site, name, text):
    file = Path(site.bin(name))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.fixture
def host_port(monkeypatch):
    """The port of the host as a list of what was done with it."""
    done = []

    class Plugged:
        def __init__(self, _site, _cloud, network):
            done.append(f"plugged into {network}")

        def __enter__(self):
            return "192.0.2.7"

        def __exit__(self, *_exception):
            done.append("unplugged")

    monkeypatch.setattr(tempest.host_port, "plugged", Plugged)
    return done


def test_a_run_keeps_everything_and_has_the_status_of_tempest(site, host_port):
    program(site, "tempest", 'echo "$@"; pwd; exit 3')
    program(site, "stestr", "true")
    said = []
    assert tempest.run(site, None, FOUND, "one two", said.append) == 3
    assert host_port == ["plugged into private", "unplugged"]
    (results,) = (site.home / "tempest").iterdir()
    output = (results / "output.txt").read_text()
    assert "run --config-file tempest.conf --concurrency 1 --regex one two" in output
    assert str(results) in output
    assert "0 run: 0 passed, 0 failed." in (results / "summary.txt").read_text()
    assert any("0 run" in line for line in said)
    assert stat.S_IMODE(results.stat().st_mode) == 0o700
    assert stat.S_IMODE((results / "tempest.conf").stat().st_mode) == 0o600


def test_a_tempest_that_is_not_there_is_named_and_the_port_is_removed(site, host_port):
    from cloud.failure import CloudError

    with pytest.raises(CloudError, match="tempest cannot be run"):
        tempest.run(site, None, FOUND, "one", print)
    assert host_port[-1] == "unplugged"


def test_a_listing_runs_nothing_and_keeps_nothing(site, host_port):
    program(site, "tempest", 'case "$*" in *--list-tests*) echo tempest.a.test;; esac')
    program(site, "stestr", "true")
    said = []
    assert tempest.list_tests(site, FOUND, "one", said.append) == 0
    assert said == ["tempest.a.test"]
    assert host_port == []
    assert list((site.home / "tempest").iterdir()) == []


def test_the_template_is_where_the_others_are():
    assert (config.TEMPLATES / tempest.CONF).exists()
