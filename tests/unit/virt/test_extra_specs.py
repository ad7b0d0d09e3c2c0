"""Our extra specs as nova-api checks them."""

from __future__ import annotations

import configparser
import importlib
from pathlib import Path

import pytest
from nova import exception
from nova.api.validation.extra_specs import validators

from nova_hyper.virt import extra_specs

SETUP = Path(__file__).resolve().parents[3] / "setup.cfg"


@pytest.fixture
def api(monkeypatch):
    """Nova's validators with ours, as the entry point adds them."""
    known, namespaces = dict(validators.VALIDATORS), set(validators.NAMESPACES)
    for validator in extra_specs.register():
        known[validator.name] = validator
        namespaces.add(validator.name_regex.split(":", 1)[0])
    monkeypatch.setattr(validators, "VALIDATORS", known)
    monkeypatch.setattr(validators, "NAMESPACES", namespaces)
    return validators


def test_the_entry_point_leads_here():
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    lines = setup["entry_points"]["nova.api.extra_spec_validators"].split()
    module = importlib.import_module(lines[-1])
    assert module is extra_specs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hyper:restart_policy", "always"),
        ("hyper:restart_policy", "on-failure"),
        ("hyper:restart_policy", "never"),
        ("hyper:termination_grace", "0"),
        ("hyper:termination_grace", "86400"),
        ("hyper:console", "attach"),
        ("hyper:console", "shell"),
        ("hyper:ephemeral_path", "/mnt"),
        ("hyper:ephemeral_path", "/var/lib/data-1"),
    ],
)
def test_right_values_pass(api, name, value):
    api.validate(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hyper:restart_policy", "sometimes"),
        ("hyper:termination_grace", "-1"),
        ("hyper:termination_grace", "86401"),
        ("hyper:termination_grace", "1.5"),
        ("hyper:ephemeral_path", "mnt"),
        ("hyper:ephemeral_path", "/"),
        ("hyper:ephemeral_path", "/mnt\n"),
        ("hyper:console", "vnc"),
        ("hyper:restart", "always"),
    ],
)
def test_wrong_values_and_unknown_names_are_refused(api, name, value):
    with pytest.raises(exception.ValidationError):
        api.validate(name, value)


def test_each_says_what_it_is_for():
    for validator in extra_specs.register():
        assert validator.description.endswith(".")
