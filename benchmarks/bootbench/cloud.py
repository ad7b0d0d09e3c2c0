"""Nova: from ``POST /servers`` to ACTIVE, and to the first line of output."""

from __future__ import annotations

import dataclasses
import time
import uuid

import openstack

from bootbench import pods
from nova_hyper.client import HyperClient

_TIMEOUT_S = 180.0
_POLL_S = 0.1


@dataclasses.dataclass(frozen=True)
class ServerStart:
    """Seconds since ``POST /servers`` was sent.

    ``reached_hyperd_s``: scheduling, the port, and what nova-compute does
    before it asks for the pod.
    """

    reached_hyperd_s: float
    output_s: float
    active_s: float


def run(
    cloud: openstack.connection.Connection, client: HyperClient, image: str, flavor: str, net: str
) -> ServerStart:
    """Start one server, measure it, and delete it."""
    compute = cloud.compute
    image_id = cloud.image.find_image(image, ignore_missing=False).id
    flavor_id = compute.find_flavor(flavor, ignore_missing=False).id
    net_id = cloud.network.find_network(net, ignore_missing=False).id
    begin = time.time()
    server = compute.create_server(
        name=f"bootbench-{uuid.uuid4().hex[:8]}",
        image_id=image_id,
        flavor_id=flavor_id,
        networks=[{"uuid": net_id}],
    )
    try:
        server = compute.wait_for_server(server, interval=_POLL_S, wait=_TIMEOUT_S)
        active = time.time() - begin
        pod = pods.wait_for_output(client, server.id)
        reached = pod.created_at - begin
        return ServerStart(reached, reached + pods.output_s(pod), active)
    finally:
        compute.delete_server(server)
        compute.wait_for_delete(server, interval=_POLL_S, wait=_TIMEOUT_S)
