from __future__ import annotations

import ipaddress

import pytest
from oslo_config import cfg

from nova_hyper import conf as options
from nova_hyper.daemon.console.settings import console_settings


def settings(**values):
    conf = cfg.ConfigOpts()
    options.register(conf, options.list_hyperd_opts())
    conf([], project="hyperd", default_config_files=[])
    for name, value in values.items():
        conf.set_override(name, value, group="console")
    return console_settings(conf)


def test_the_defaults_are_for_a_proxy_on_the_same_host():
    made = settings()
    assert made.address == "127.0.0.1"
    assert (made.ports[0], made.ports[-1]) == (10000, 20000)
    assert ipaddress.ip_address("127.0.0.1") in made.clients[0]
    assert made.shells == ("/bin/bash", "/bin/sh")


def test_networks_may_connect():
    made = settings(allowed_clients=["192.0.2.0/28", "2001:db8::/64"])
    assert ipaddress.ip_address("192.0.2.15") in made.clients[0]
    assert ipaddress.ip_address("2001:db8::1") in made.clients[1]


@pytest.mark.parametrize("text", ["2:1", "0:5", "1:65536"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(cfg.Error, match="port_range"):
        settings(port_range=text)


@pytest.mark.parametrize("text", ["controller", "192.0.2.1/28"])
def test_a_client_that_is_no_network_is_refused(text):
    with pytest.raises(cfg.Error, match="allowed_clients"):
        settings(allowed_clients=[text])
