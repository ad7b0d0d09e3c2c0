"""``hyperd``: pods as micro-VMs on this host.

The use cases are in ``pods``; they know the host through the Protocols of
``ports`` only.  ``wiring`` is the one module that knows the adapters.
"""
