"""The boot benchmark: bare QEMU, hyperd, and Nova, in one run on one machine."""
