"""``[console]`` of hyperd.conf."""

from __future__ import annotations

import dataclasses
import ipaddress

from oslo_config import cfg

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True)
class ConsoleSettings:
    """The options as values; *ports* begins and ends with ports that consoles may have."""

    address: str
    ports: range
    clients: tuple[Network, ...]
    max_connections: int
    shells: tuple[str, ...]


def console_settings(conf: cfg.ConfigOpts) -> ConsoleSettings:
    """Return what the configuration says.

    :raises cfg.Error: naming the option that has no possible value.
    """
    options = conf.console
    return ConsoleSettings(
        address=options.listen_address,
        ports=_ports(options.port_range),
        clients=tuple(_network(text) for text in options.allowed_clients),
        max_connections=options.max_connections,
        shells=tuple(options.shells),
    )


def _ports(text: str) -> range:
    first, last = (int(number) for number in text.split(":"))
    if not 0 < first <= last < 1 << 16:
        raise cfg.Error(
            f"[console] port_range = {text} must be a first and a last port from 1 to 65535"
        )
    return range(first, last + 1)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise cfg.Error(f"[console] allowed_clients has a wrong network: {exc}") from None
