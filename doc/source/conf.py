"""Sphinx configuration."""

project = "nova-hyper"
copyright = "2026, nova-hyper contributors"  # noqa: A001
extensions = ["reno.sphinxext", "oslo_config.sphinxext"]
html_theme = "alabaster"
exclude_patterns = ["_build"]
