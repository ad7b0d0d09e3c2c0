"""A Nova virt driver for hypervisor-isolated pods, and the daemon behind it."""
