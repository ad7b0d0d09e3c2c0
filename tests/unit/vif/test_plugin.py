"""The os-vif entry point, in processes with and without Nova."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

WITHOUT_NOVA = """
import sys
class NoNova:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "nova":
            raise ImportError(name)
sys.meta_path.insert(0, NoNova())
from nova_hyper.vif.plugin import HyperPlugin
from os_vif import objects
objects.register_all()
plugin = HyperPlugin.load("nova_hyper")
assert list(plugin.describe().vif_info) == []
assert not any(m.split(".")[0] == "nova" for m in sys.modules)
"""

WITH_NOVA = """
import nova.monkey_patch
nova.monkey_patch.patch()
import sys
import nova_hyper.vif.plugin
import nova.conf
assert "nova_hyper.virt.driver" not in sys.modules, "not lazy"
from nova.virt import driver
nova.conf.CONF([], default_config_files=[])
loaded = driver.load_compute_driver(None, "hyper.HyperDriver")
from nova_hyper.virt.driver import HyperDriver
assert type(loaded) is HyperDriver
assert "eventlet" not in sys.modules
"""


@pytest.mark.parametrize("script", [WITHOUT_NOVA, WITH_NOVA], ids=["without nova", "with nova"])
def test_importing_it_is_all_that_it_takes(script):
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"},
    )
    assert done.returncode == 0, done.stderr


def test_is_the_entry_point_that_the_package_declares():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["entry_points"]["os_vif"].split() == [
        "nova_hyper",
        "=",
        "nova_hyper.vif.plugin:HyperPlugin",
    ]


def test_is_installed_once():
    from nova_hyper.vif import plugin

    plugin.install()
    plugin.install()
    assert sum(isinstance(f, plugin.DriverFinder) for f in sys.meta_path) == 1


def test_other_modules_are_not_its_business():
    from nova_hyper.vif import plugin

    assert plugin.DriverFinder().find_spec("nova.virt.hyperv", None) is None
