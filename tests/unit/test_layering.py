"""The dependency rules of the design, read from the imports."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "nova_hyper"

# Which of our own packages each of them may import, itself apart.
OWN = {
    "spec": set(),
    "conf": set(),
    "version": set(),
    "exception": set(),
    "client": {"spec"},
    "manifest": {"spec"},
    "vif": {"spec", "exception"},
    "volume": {"spec", "exception"},
    "virt": {"client", "conf", "exception", "manifest", "spec", "vif", "volume"},
    "daemon": {"conf", "spec", "version"},
    "cmd": {"client", "conf", "daemon", "manifest", "spec", "version"},
}
ALL = set(sys.stdlib_module_names)
# What hyperd must never need, so that it runs without OpenStack; and what nova-compute must not.
NEVER = {
    "client": {"nova", "libvirt", "os_vif", "os_brick", "requests"},
    "manifest": {"nova", "libvirt", "os_vif", "os_brick"},
    "vif": {"libvirt", "os_brick"},
    "volume": {"libvirt", "os_vif"},
    "virt": {"libvirt"},
    "exception": {"libvirt"},
    "daemon": {"nova", "os_vif", "os_brick"},
    "cmd": {"nova", "os_vif", "os_brick", "libvirt"},
    "conf": {"nova", "libvirt"},
}
# The entry point that Nova comes in by: the one way up, and not taken at import.
DOOR = (("vif", "plugin"), "nova_hyper.virt.driver")
STDLIB_ONLY = {"spec", "client"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield pytest.param(parts, path, id=".".join(parts))


def imports(path, parts):
    """Yield the full name of everything that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "nova_hyper":
                yield from (f"nova_hyper.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(("parts", "path"), modules())
def test_a_module_imports_only_what_its_package_may(parts, path):
    package = parts[0]
    assert package in OWN, f"{package} has no rule: add it here and to the design"
    for name in imports(path, parts):
        top = name.split(".")[0]
        assert top != "eventlet", f"{path} imports eventlet"
        assert top not in NEVER.get(package, ()), f"{path} imports {name}"
        if top == "nova_hyper" and (parts, name) != DOOR:
            # The package itself says only what it is called.
            other = [*name.split("."), package][1]
            assert other == package or other in OWN[package], f"{path} imports {name}"
        elif package in STDLIB_ONLY:
            assert top in ALL, f"{path} imports {name}, which is not in the standard library"


# The adapters: what knows libvirt, the agent's channel, the image store and HTTP.
ADAPTERS = {"api", "guest", "hypervisor", "image"}
# Their words, which everybody may use: what a domain, a guest build, the host's facts are.
VALUES = {
    "nova_hyper.daemon.guest.assets",
    "nova_hyper.daemon.guest.cmdline",
    "nova_hyper.daemon.hypervisor.domain",
    "nova_hyper.daemon.hypervisor.facts",
    "nova_hyper.daemon.hypervisor.probe.Verdict",
    "nova_hyper.daemon.hypervisor.saved",
}


def daemon_imports(path):
    """Yield the full name of everything of the daemon that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("nova_hyper.daemon"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("parts", "path"), [m for m in modules() if m.values[0][0] == "daemon"])
def test_in_the_daemon_only_the_wiring_joins_adapters(parts, path):
    inside = parts[1] if len(parts) > 1 else "__init__"
    if inside == "wiring":
        return
    for name in daemon_imports(path):
        other = [*name.split("."), ""][2]
        if other in ADAPTERS - {inside}:
            said = {name, name.rpartition(".")[0]}
            assert said & VALUES, f"{path} imports {name}"


def test_libvirt_is_known_in_one_place():
    knowing = {
        parts[:2]
        for parts, path in (m.values for m in modules())
        if any(name.split(".")[0] == "libvirt" for name in imports(path, parts))
    }
    assert knowing <= {("daemon", "hypervisor")}
