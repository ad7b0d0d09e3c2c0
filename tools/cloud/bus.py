"""The message bus: a RabbitMQ of our own, with its own port mapper."""

from __future__ import annotations

from cloud import answers, config, service
from cloud.service import Service
from cloud.site import ADDRESS, PORTS, Site


def definitions(site: Site) -> tuple[Service, Service]:
    """Return the services of Erlang's port mapper and of RabbitMQ, in the order of start."""
    home = site.var / "rabbitmq"
    names = {"ERL_EPMD_PORT": str(PORTS["bus-epmd"]), "ERL_EPMD_ADDRESS": ADDRESS}
    mapper = Service(
        "epmd",
        # Started by RabbitMQ it would daemonize, and outlive it.
        ("/usr/bin/epmd",),
        env=names,
        ready=answers.tcp(ADDRESS, PORTS["bus-epmd"]),
    )
    server = Service(
        "rabbitmq",
        ("/usr/lib/rabbitmq/bin/rabbitmq-server",),
        env=names
        | {
            "HOME": str(home),
            "RABBITMQ_NODENAME": "nova-hyper@localhost",
            "RABBITMQ_DIST_PORT": str(PORTS["bus-dist"]),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(site.log),
            "RABBITMQ_CONFIG_FILE": str(site.etc / "rabbitmq/rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(site.etc / "rabbitmq/enabled_plugins"),
            # Its schedulers spin while idle, which takes a core from the pods.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none "
            "+sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
        },
        ready=answers.tcp(ADDRESS, PORTS["bus"]),
        inputs=(site.etc / "rabbitmq/rabbitmq.conf",),
    )
    return mapper, server


def bring_up(site: Site) -> None:
    """Start the port mapper, then RabbitMQ."""
    (site.var / "rabbitmq/mnesia").mkdir(parents=True, exist_ok=True)
    config.write(site.etc / "rabbitmq/enabled_plugins", "[].\n")
    for definition in definitions(site):
        service.bring_up(site, definition)
