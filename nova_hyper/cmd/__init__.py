"""The commands: ``hyperd`` and ``hyperctl``."""
