"""An OpenStack cloud with pods on this machine, for trying and for testing.

``tools/quickstart.sh`` installs what is needed and hands over to this package:
``python -m cloud up`` with ``PYTHONPATH=tools``.  Everything listens on
127.0.0.1, runs as root without a service manager, and lives in one directory.
The functional tests use the same code.
"""
