"""Images on the host before anybody wants a server of them."""

from __future__ import annotations

import pytest

from nova_hyper.client import HyperClient
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_an_image_is_cached_ahead_and_no_server_fetches_it_again(
    site, cloud, make_server, image_running, console
):
    from cloud.resources import AGGREGATE

    name = image_running("echo it was here already; sleep 1000")
    image_id = cloud.image.find_image(name, ignore_missing=False).id
    hyperd = HyperClient("/run/hyperd/hyperd.sock", 60, 5)
    log = site.log / "nova-compute.log"

    def cached():
        return any(image_id in n for image in hyperd.images() for n in image.names)

    assert not cached()
    aggregate = cloud.compute.find_aggregate(AGGREGATE)
    answer = cloud.compute.post(
        f"/os-aggregates/{aggregate.id}/images",
        json={"cache": [{"id": image_id}]},
        microversion="2.81",
    )
    assert answer.status_code == 202, answer.text
    wait_for(cached, 60, "the fetch")
    server = make_server(image=name)
    console(server, "it was here already")
    assert log.read_text(errors="replace").count(f"Fetching the image {image_id}") == 1
