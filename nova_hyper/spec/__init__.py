"""What crosses the border between ``nova-compute`` and ``hyperd``.

Both sides import this package, so it imports only the standard library.
"""
