"""What a user needs before the first server: a network, flavors, an image, open ports."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from cloud import command, plan
from cloud.site import Site

NETWORK = "private"
SUBNET = "private-v4"
CIDR = "192.168.233.0/24"
IMAGE = "busybox"
HYPER_TRAIT = {"trait:CUSTOM_HYPER": "required"}
IMAGE_PROPERTIES = {"img_hv_type": "docker", "hw_vm_mode": "exe", **HYPER_TRAIT}
"""Keep the image off hosts of other hypervisors, whatever the flavor."""
AGGREGATE = "hyper"
"""Its hosts take only what asks for the trait, which virtual machines do not."""


@dataclasses.dataclass(frozen=True)
class Flavor:
    """*ram_mib* in MiB, *disk_gib* in GiB; 0 GiB: files are in memory."""

    name: str
    ram_mib: int
    disk_gib: int


FLAVORS = (Flavor("hyper.nano", 64, 0), Flavor("hyper.small", 256, 1))


def make_network(cloud: Connection) -> None:
    """Make the network ``private``, shared by all projects, with a name server in it.

    The DHCP server knows the names of the servers, and is there for whoever
    asks; its address is only known once it runs.
    """
    network = cloud.network.find_network(NETWORK) or cloud.network.create_network(
        name=NETWORK, is_shared=True
    )
    subnet = cloud.network.find_subnet(SUBNET) or cloud.network.create_subnet(
        name=SUBNET, network_id=network.id, ip_version=4, cidr=CIDR
    )
    if subnet.dns_nameservers:
        return

    def dhcp_ports() -> list[Any]:
        return list(cloud.network.ports(network_id=network.id, device_owner="network:dhcp"))

    plan.until(f"a DHCP server on network {NETWORK}", lambda: bool(dhcp_ports()), timeout_s=60)
    address = dhcp_ports()[0].fixed_ips[0]["ip_address"]
    cloud.network.update_subnet(subnet, dns_nameservers=[address])


def open_ports(cloud: Connection) -> None:
    """Let ping and TCP into the ``default`` security group of the connection's project."""
    project = cloud.current_project_id
    (group,) = cloud.network.security_groups(name="default", project_id=project)
    rules = {
        (rule.direction, rule.protocol, rule.remote_ip_prefix)
        for rule in cloud.network.security_group_rules(security_group_id=group.id)
    }
    for protocol in ("icmp", "tcp"):
        if ("ingress", protocol, "0.0.0.0/0") not in rules:
            cloud.network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                ether_type="IPv4",
                protocol=protocol,
                remote_ip_prefix="0.0.0.0/0",
            )


def make_flavors(site: Site, cloud: Connection) -> None:
    """Make the flavors ``hyper.nano`` and ``hyper.small``."""
    for wanted in FLAVORS:
        make_flavor(site, cloud, wanted)


def make_flavor(site: Site, cloud: Connection, wanted: Flavor) -> str:
    """Make a flavor that only hosts with hyperd take; return its id."""
    flavor = cloud.compute.find_flavor(wanted.name) or cloud.compute.create_flavor(
        name=wanted.name, vcpus=1, ram=wanted.ram_mib, disk=wanted.disk_gib
    )
    if site.driver == "hyper":
        cloud.compute.create_flavor_extra_specs(flavor, HYPER_TRAIT)
    return str(flavor.id)


def make_aggregate(site: Site, cloud: Connection) -> None:
    """Keep servers that are virtual machines off the node."""
    if site.driver != "hyper":
        return
    aggregate: Any = cloud.compute.find_aggregate(AGGREGATE) or cloud.compute.create_aggregate(
        name=AGGREGATE
    )
    if (aggregate.metadata or {}).get("trait:CUSTOM_HYPER") != "required":
        cloud.compute.set_aggregate_metadata(aggregate, HYPER_TRAIT)
    if site.host not in (aggregate.hosts or []):
        cloud.compute.add_host_to_aggregate(aggregate, site.host)


def make_archive(site: Site, image: str = IMAGE) -> Path:
    """Return a docker archive of *image*, made once by its script in ``tools/images``."""
    archive = site.var / "images" / f"{image}.tar"
    recipe = site.repo / "tools/images" / f"{image}.sh"
    stamp = archive.with_suffix(".stamp")
    wanted = hashlib.sha256(recipe.read_bytes()).hexdigest()
    if not (archive.exists() and stamp.exists() and stamp.read_text() == wanted):
        archive.parent.mkdir(parents=True, exist_ok=True)
        command.run(site, f"image-{image}", (str(recipe), str(archive)))
        stamp.write_text(wanted)
    return archive


def upload_image(site: Site, cloud: Connection) -> None:
    """Upload the image ``busybox`` to Glance, for all projects."""
    upload(site, cloud, IMAGE, make_archive(site))


def upload(site: Site, cloud: Connection, name: str, archive: Path) -> str:
    """Upload *archive* to Glance as the image *name*, for all projects; return its id.

    What is there under that name and is not the same is replaced.
    """
    properties: dict[str, Any] = dict(IMAGE_PROPERTIES) if site.driver == "hyper" else {}
    found: Any = cloud.image.find_image(name)
    if found is not None:
        shown = cloud.image.get(f"/images/{found.id}").json()
        if (
            shown["status"] == "active"
            and shown["os_hash_value"] == _sha512(archive)
            and {name: shown[name] for name in IMAGE_PROPERTIES if name in shown} == properties
        ):
            return str(found.id)
        cloud.image.delete_image(found)
    made: Any = cloud.create_image(
        name,
        filename=str(archive),
        container_format="docker",
        disk_format="raw",
        visibility="public",
        wait=True,
        use_import=False,
        **properties,
    )
    return str(made.id)


def _sha512(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha512").hexdigest()
