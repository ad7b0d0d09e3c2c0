"""The os-vif entry point that makes ``nova.virt.hyper`` importable.

``nova-compute`` loads ``compute_driver`` as ``nova.virt.<value>`` only, and it
calls ``os_vif.initialize()``, which imports every os-vif entry point, before
that.  Importing this module puts a finder last on ``sys.meta_path``; nothing
of Nova is imported until somebody asks for ``nova.virt.hyper``, so this is
harmless in the other processes that use os-vif (Neutron's agents among them).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from os_vif import exception, plugin

if TYPE_CHECKING:
    from os_vif import objects

DRIVER_MODULE = "nova.virt.hyper"


class DriverFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads ``nova.virt.hyper``: a module that has ``HyperDriver``."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of our one module, None for every other."""
        if fullname != DRIVER_MODULE:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin="nova_hyper.virt.driver")

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module from the driver's own."""
        from nova_hyper.virt.driver import HyperDriver

        module.__doc__ = "The driver of nova-hyper, under the name that compute_driver can load."
        vars(module)["HyperDriver"] = HyperDriver


def install() -> None:
    """Put the finder last on ``sys.meta_path``, once: a module of Nova's own wins."""
    if not any(isinstance(finder, DriverFinder) for finder in sys.meta_path):
        sys.meta_path.append(DriverFinder())


class HyperPlugin(plugin.PluginBase):
    """An os-vif plugin that plugs nothing: its import is what it is for."""

    def describe(self) -> objects.HostPluginInfo:
        """Return that no VIF type is this plugin's."""
        from os_vif import objects

        return objects.host_info.HostPluginInfo(plugin_name="nova_hyper", vif_info=[])

    def plug(self, vif: objects.vif.VIFBase, instance_info: objects.InstanceInfo) -> None:
        """Refuse: pods use the plugin of their VIF's type.

        :raises os_vif.exception.PlugException: always.
        """
        raise exception.PlugException(vif=vif, err="nova_hyper is no plugin for VIFs")

    def unplug(self, vif: objects.vif.VIFBase, instance_info: objects.InstanceInfo) -> None:
        """Refuse: pods use the plugin of their VIF's type.

        :raises os_vif.exception.UnplugException: always.
        """
        raise exception.UnplugException(vif=vif, err="nova_hyper is no plugin for VIFs")


install()
