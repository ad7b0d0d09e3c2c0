"""Servers that are Pod manifests: in their user data, and as their Glance image."""

from __future__ import annotations

import base64
import time

import pytest

from nova_hyper.client import HyperClient
from tests.functional.daemon import wait_for

pytestmark = pytest.mark.usefixtures("no_leaks")

# A server that dies of being asked for /die, and a sidecar that polls it on localhost.
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: prepare
    image: IMAGE
    command: [sh, -c, 'echo the page of init > /data/index.html']
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: server
    image: IMAGE
    command: [httpd, -f, -p, "8080", -h, /data]
    ports: [{containerPort: 8080, name: http}]
    volumeMounts: [{name: data, mountPath: /data}]
    livenessProbe:
      exec: {command: [test, "!", -e, /data/sick]}
      periodSeconds: 1
    resources: {limits: {memory: 24Mi}}
  - name: sidecar
    image: IMAGE
    command: [sh, -c]
    args:
    - |
      while :; do wget -q -O - http://localhost:8080/ >>/data/seen && tail -n 1 /data/seen
      sleep 0.5; done
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"""


@pytest.fixture
def hyperd():
    return HyperClient("/run/hyperd/hyperd.sock", 60, 5)


@pytest.fixture
def fault_of(cloud, make_server, wait_status):
    """``fault_of(image=..., user_data=...)``: the message of a server that must fail."""

    def boot(**wishes):
        server = wait_status(make_server(wait=False, **wishes), "ERROR", timeout_s=150)
        return cloud.compute.get_server(server).fault["message"]

    return boot


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def container(hyperd, server, name):
    return next(c for c in hyperd.pod(server.id).containers if c.name == name)


def run_in_sidecar(hyperd, server, command):
    with hyperd.exec(server.id, ["sh", "-c", command], container="sidecar") as session:
        for _part in session:
            pass


def check(hyperd, server, console):
    """The pod works, and a server that is sick is started anew."""
    assert server.status == "ACTIVE"
    console(server, "the page of init")
    # The console has it first: hyperd asks the agent a moment after that says what is new.
    wait_for(
        lambda: container(hyperd, server, "prepare").exit_code == 0, what="the init container"
    )
    run_in_sidecar(hyperd, server, "touch /data/sick")
    wait_for(
        lambda: container(hyperd, server, "server").restarts >= 1,
        what="a restart by the liveness probe",
    )
    run_in_sidecar(hyperd, server, "rm /data/sick")
    wait_for(lambda: container(hyperd, server, "server").state.value == "running", what="a server")
    again = time.time()

    def page():
        lines = hyperd.logs(server.id, container="sidecar", since=again)
        return any(b"the page of init" in line.content for line in lines)

    wait_for(page, what="the page again")


def test_user_data_are_a_pod_of_the_servers_own_image(make_server, console, hyperd):
    manifest = POD.replace("image: IMAGE", "image: glance://.")
    server = make_server(flavor="hyper.small", user_data=encoded(manifest))
    check(hyperd, server, console)
    assert [c.name for c in hyperd.pod(server.id).containers] == ["prepare", "server", "sidecar"]


def test_an_image_of_glance_is_a_pod_of_other_images(
    cloud, make_server, console, hyperd, upload, tmp_path
):
    file = tmp_path / "pod.yaml"
    file.write_text(POD.replace("IMAGE", f"glance://{cloud.image.find_image('busybox').id}"))
    image = upload(file, hyper_format="pod-manifest")
    check(hyperd, make_server(image=image, flavor="hyper.small"), console)


def test_an_image_without_the_property_is_known_by_its_content(
    make_server, console, upload, tmp_path
):
    file = tmp_path / "pod.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n"
        "  - {name: a, image: 'glance://busybox', command: [sh, -c, 'echo known; sleep 1000']}\n"
    )
    console(make_server(image=upload(file)), "known")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("memory: 24Mi", "memory: 24Gi"),
            "spec.containers[0].resources ask for 24576 MiB of memory, flavor hyper.nano has",
        ),
        (
            ("image: IMAGE", "image: glance://no-such-image"),
            "spec.initContainers[0].image is glance://no-such-image, but there is no image",
        ),
    ],
)
def test_what_is_wrong_is_the_servers_fault_by_its_path(fault_of, change, said):
    manifest = POD.replace(*change).replace("image: IMAGE", "image: glance://.")
    assert said in fault_of(user_data=encoded(manifest))


def test_other_user_data_are_no_pod(make_server, console):
    script = encoded("#!/bin/sh\ncat <<EOF\napiVersion: v1\nkind: Pod\nEOF\n")
    assert "busybox: serving on port 80" in console(make_server(user_data=script))
