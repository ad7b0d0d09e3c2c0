"""The virt driver: one module per concern, and ``driver`` that joins them.

Each is free of Nova's configuration and of each other where it can be, so that
it can be tested with values; ``driver`` reads the configuration and delegates.
"""
