"""Tempest, OpenStack's own tests, against the cloud: what it needs, and a run of it."""

from __future__ import annotations

import datetime
import shutil
import string
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from cloud import config, host_port, resources, tempest_report
from cloud.failure import CloudError
from cloud.resources import NETWORK, Flavor
from cloud.site import REGION, Site

IMAGE = "ssh"
IMAGES = (IMAGE, f"{IMAGE}-alt")
"""Two images with one content; servers are rebuilt from one to the other."""
FLAVORS = (Flavor("hyper.tempest", 64, 1), Flavor("hyper.tempest-alt", 128, 2))
"""Servers are resized from the first to the second."""

DEFAULT_TESTS = (
    r"^tempest\.api\.compute\.(servers|images|admin)\."
    r" ^tempest\.scenario\.test_(server_basic_ops|server_advanced_ops|shelve_instance"
    r"|snapshot_pattern)\."
)
"""Regular expressions with spaces between them, as ``tempest run`` takes them."""

EXCLUDED = Path(__file__).with_name("tempest-exclude.txt")
"""Tests that cannot apply to pods, with the reason behind each."""

CONF = "tempest.conf"
TEST_TIMEOUT_S = 1200


def prepare(site: Site, cloud: Connection) -> dict[str, str]:
    """Make the images and flavors; return the values of the template that depend on the cloud."""
    archive = resources.make_archive(site, IMAGE)
    image, image_alt = (resources.upload(site, cloud, name, archive) for name in IMAGES)
    flavor, flavor_alt = (resources.make_flavor(site, cloud, wanted) for wanted in FLAVORS)
    extensions: Any = cloud.network.extensions()
    return {
        "image": image,
        "image_alt": image_alt,
        "flavor": flavor,
        "flavor_alt": flavor_alt,
        "network_extensions": ",".join(sorted(extension.alias for extension in extensions)),
    }


def run(
    site: Site, cloud: Connection, found: Mapping[str, str], tests: str, say: Callable[[str], None]
) -> int:
    """Run the tests that match *tests*, and say what came of it; return Tempest's exit status.

    Everything about the run is kept in a directory of its own.
    """
    results = _make_results(site, found)
    with host_port.plugged(site, cloud, NETWORK) as address:
        say(f"The host is {address} on the network {NETWORK}. Results: {results}")
        status = _run(site, results, tests, say)
    stream = results / "results.subunit"
    with stream.open("wb") as out:
        # Its status is that of the run.
        argv = (site.bin("stestr"), "last", "--subunit")
        subprocess.run(argv, cwd=results, env=site.environ, stdout=out, check=False)
    summary = tempest_report.summary(stream, EXCLUDED, tests)
    (results / "summary.txt").write_text(f"{summary}\n")
    say(f"\n{summary}\n\nAll of it: {results}")
    return status


def list_tests(
    site: Site, found: Mapping[str, str], tests: str, say: Callable[[str], None]
) -> int:
    """Say which tests match *tests*; return Tempest's exit status."""
    results = _make_results(site, found)
    try:
        # Tempest makes the configuration of stestr, but not the repository that listing wants too.
        argv = (site.bin("stestr"), "init")
        subprocess.run(argv, cwd=results, env=site.environ, check=True)
        return _run(site, results, tests, say, "--list-tests")
    finally:
        shutil.rmtree(results)


def configuration(site: Site, found: Mapping[str, str], results: Path) -> str:
    """Return ``tempest.conf``; *found* is what :func:`prepare` has found."""
    values = {
        "results": str(results),
        "password_admin": site.passwords["admin"],
        "url_keystone": site.url("keystone"),
        "region": REGION,
        "network": NETWORK,
    }
    template = string.Template((config.TEMPLATES / CONF).read_text())
    return template.substitute(values, **found)


def _make_results(site: Site, found: Mapping[str, str]) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    results = site.home / "tempest" / f"{now:%Y-%m-%dT%H.%M.%SZ}"
    results.mkdir(parents=True)
    # The administrator's password is in tempest.conf and in the log.
    results.chmod(0o700)
    config.write(results / CONF, configuration(site, found, results))
    return results


def _run(site: Site, results: Path, tests: str, say: Callable[[str], None], *options: str) -> int:
    """Run ``tempest run`` in the directory *results*, where it keeps all that it writes."""
    argv = (
        *(site.bin("tempest"), "run", "--config-file", CONF),
        # One after the other: servers that start beside each other are slow on a small machine.
        *("--concurrency", "1", "--regex", tests, "--exclude-list", str(EXCLUDED)),
        *options,
    )
    with (results / "output.txt").open("w", buffering=1) as out:
        try:
            process = subprocess.Popen(
                argv,
                env=site.environ | {"OS_TEST_TIMEOUT": str(TEST_TIMEOUT_S)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=results,
                text=True,
                errors="replace",
            )
        except OSError as exc:
            raise CloudError(f"{argv[0]} cannot be run: {exc.strerror}.") from exc
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                say(line.rstrip())
    return process.returncode
