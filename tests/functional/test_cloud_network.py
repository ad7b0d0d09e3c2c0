"""The Neutron port of a pod."""

from __future__ import annotations

import re
import subprocess

import pytest

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def web(make_server, console):
    server = make_server("web")
    console(server, "serving on port 80")
    return server


def address(server):
    return server.addresses["private"][0]["addr"]


def test_a_pod_has_the_address_mac_mtu_route_and_name_server_of_its_port(
    cloud, make_server, console, image_running
):
    image = image_running("ip addr; ip route; cat /etc/resolv.conf; echo end; sleep 1000")
    server = make_server(image=image)
    text = console(server, "end\n")
    (port,) = cloud.network.ports(device_id=server.id)
    subnet = cloud.network.find_subnet("private-v4")
    network = cloud.network.find_network("private")
    assert f"inet {address(server)}/24" in text
    assert f"link/ether {port.mac_address}" in text
    assert re.search(rf"eth0.* mtu {network.mtu} ", text)
    assert f"default via {subnet.gateway_ip}" in text
    assert f"nameserver {subnet.dns_nameservers[0]}" in text


def test_a_pod_answers_ping_and_http_from_its_network(cloud, web):
    namespace = f"qdhcp-{cloud.network.find_network('private').id}"
    inside = ["ip", "netns", "exec", namespace]
    subprocess.run([*inside, "ping", "-c3", "-i0.3", "-W5", address(web)], check=True)
    page = subprocess.run(
        [*inside, "curl", "-sS", "--max-time", "20", f"http://{address(web)}/"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert page.stdout == "Hello from a pod.\n"


def test_two_pods_reach_each_other_by_ping_and_tcp(make_server, console, image_running, web):
    image = image_running(
        f"ping -c 3 -W 5 {address(web)}; timeout 20 wget -qO- http://{address(web)}/; "
        "echo end; sleep 1000"
    )
    text = console(make_server(image=image), "end\n")
    assert " 0% packet loss" in text
    assert "Hello from a pod." in text


def test_a_pod_finds_another_by_its_name(make_server, console, image_running, web):
    image = image_running("timeout 20 wget -qO- http://web.hyper.internal/; echo end; sleep 1000")
    assert "Hello from a pod." in console(make_server(image=image), "end\n")


def test_megabytes_arrive_whole(make_server, console, image_running):
    serve = image_running(
        "mkdir /srv; dd if=/dev/urandom of=/srv/big bs=64k count=128 2>/dev/null; "
        "md5sum < /srv/big; httpd -f -p 80 -h /srv"
    )
    server = make_server(image=serve, flavor="hyper.small")
    digest = re.search(r"[0-9a-f]{32}", console(server, "  -"))[0]
    fetch = image_running(
        f"timeout 30 wget -qO- http://{address(server)}/big | md5sum; echo end; sleep 1000"
    )
    assert digest in console(make_server(image=fetch), "end\n")


def test_a_port_without_its_security_group_rules_is_closed(
    cloud, make_server, console, image_running
):
    group = cloud.network.create_security_group(name="closed-test")
    try:
        server = make_server("closed")
        console(server, "serving on port 80")
        (port,) = cloud.network.ports(device_id=server.id)
        cloud.network.update_port(port, security_group_ids=[group.id])
        image = image_running(
            f"sleep 3; timeout 4 wget -qO- http://{address(server)}/ || echo closed; sleep 1000"
        )
        assert "closed" in console(make_server(image=image), "closed")
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=0.2)
    finally:
        cloud.network.delete_security_group(group)
