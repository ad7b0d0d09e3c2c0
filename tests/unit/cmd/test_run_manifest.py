"""hyperctl run of Pod manifests."""

from __future__ import annotations

import io
import sys

import pytest
import yaml

POD = """
apiVersion: v1
kind: Pod
metadata: {name: site}
spec:
  initContainers: [{name: first, image: "web:1"}]
  containers:
  - {name: main, image: "web:1", resources: {limits: {memory: 100Mi, cpu: 1500m}}}
  - {name: side, image: "other:1"}
"""


@pytest.fixture
def pod(tmp_path, hyperd, image):
    """The path of a manifest whose images are on the host."""
    hyperd.import_image("other:1", [b"other"])
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    return path


def test_a_manifest_is_a_pod_with_all_its_containers(ctl, hyperd, pod):
    assert ctl("run", "-d", pod).code == 0
    spec = hyperd.pod("site").spec
    assert [(c.name, c.image) for c in spec.all_containers] == [
        ("first", "web:1"),
        ("main", "web:1"),
        ("side", "other:1"),
    ]
    assert spec.restart_policy == "always"


@pytest.mark.parametrize(
    ("options", "size"),
    [((), (164, 2)), (("-m", "256", "-c", "4"), (256, 4))],
)
def test_a_pod_has_the_size_that_is_given_or_needed(ctl, hyperd, pod, options, size):
    assert ctl("run", "-d", *options, pod).code == 0
    spec = hyperd.pod("site").spec
    assert (spec.memory_mib, spec.vcpus) == size


def test_a_size_that_is_too_small_is_refused_with_both_figures(ctl, hyperd, pod):
    result = ctl("run", "-m", "64", pod)
    assert result.code == 1
    assert "spec.containers[0].resources ask for 100 MiB of memory, the pod has 64 MiB" in (
        result.err
    )
    assert hyperd.pods() == ()


def test_the_command_line_names_the_pod_and_its_network(ctl, hyperd, pod):
    options = "--name w --root 1 --hostname h --bridge br0 --address 10.0.0.5/24"
    assert ctl("run", "-d", *options.split(), pod).code == 0
    spec = hyperd.pod("w").spec
    assert (spec.root_gib, spec.hostname, spec.nics[0].addresses) == (1, "h", ("10.0.0.5/24",))


def test_a_manifest_comes_from_standard_input_too(ctl, hyperd, pod, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(POD.encode())))
    assert ctl("run", "-d", "-").code == 0
    assert hyperd.pod("site")


def test_a_dry_run_prints_the_specification_and_makes_nothing(ctl, hyperd, pod):
    result = ctl("run", "--dry-run", pod)
    assert yaml.safe_load(result.out)["containers"][1]["image"] == "other:1"
    assert '"restart_policy": "always"' in ctl("run", "--dry-run", "-o", "json", pod).out
    assert hyperd.pods() == ()
    assert "create_pod" not in hyperd.calls


@pytest.mark.parametrize(
    "option", [("-e", "A=1"), ("-u", "1"), ("-w", "/x"), ("--entrypoint", "x")]
)
def test_what_the_manifest_says_cannot_be_said_again(ctl, hyperd, pod, option):
    result = ctl("run", *option, pod)
    assert result.code == 2
    assert "cannot be given with a Pod manifest" in result.err
    assert hyperd.pods() == ()


def test_what_is_wrong_is_printed_by_its_path(ctl, hyperd, pod):
    pod.write_text(POD.replace("initContainers", "initcontainers"))
    result = ctl("run", pod)
    assert (result.code, result.err) == (
        1,
        "hyperctl: the Pod manifest cannot be used: spec.initcontainers is not supported; remove "
        "it\n",
    )


def test_a_file_that_is_called_yaml_is_a_manifest_even_with_nothing_in_it(ctl, hyperd, pod):
    pod.write_text("")
    assert "must have exactly one Pod, not 0" in ctl("run", pod).err


def test_an_archive_beside_the_manifest_is_loaded(ctl, hyperd, pod):
    (pod.parent / "mine.tar").write_bytes(b"mine")
    pod.write_text(POD.replace("other:1", "docker-archive:mine.tar"))
    assert ctl("run", "-d", pod).code == 0
    assert hyperd.imports[-1] == "mine"
    assert hyperd.pod("site").spec.containers[1].image == hyperd.image("mine").id


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("docker-archive:none.tar", "is docker-archive:none.tar: No such file or directory"),
        ("glance://x", "is glance://x, which only a server of Nova can have"),
        ("", "is missing: only a server of Nova has an image of its own"),
        ("none:1", "is none:1, which is not on this host, and this host may not pull from docker"),
    ],
)
def test_an_image_that_cannot_be_had_is_named_with_its_place(ctl, hyperd, pod, named, said):
    pod.write_text(POD.replace("other:1", named))
    result = ctl("run", pod)
    assert result.code == 1
    assert f"spec.containers[1].image {said}" in result.err
    assert hyperd.pods() == ()


def test_an_image_that_is_not_here_is_pulled(ctl, hyperd, pod):
    hyperd.registry["quay.io/web:2"] = b"pulled"
    pod.write_text(POD.replace("other:1", "quay.io/web:2"))
    result = ctl("run", "-d", pod)
    assert (result.code, result.err) == (0, "pulling quay.io/web:2\n")
    assert hyperd.pod("site").spec.containers[1].image == "quay.io/web:2"


def test_what_was_loaded_as_latest_is_meant_unless_the_manifest_wants_a_pull(ctl, hyperd, pod):
    hyperd.import_image("mine", [b"mine"])
    pod.write_text(POD.replace('"other:1"', "mine"))
    assert ctl("run", "-d", "--name", "a", pod).code == 0
    assert "pull" not in hyperd.calls
    pod.write_text(POD.replace('"other:1"', "mine, imagePullPolicy: Always"))
    assert "may not pull" in ctl("run", "-d", "--name", "b", pod).err
