"""What pod a server shall be: of its image, of its user data, of a manifest in Glance."""

from __future__ import annotations

import base64

import pytest
from nova import exception as nova_exception

from nova_hyper.manifest import document
from nova_hyper.manifest.problems import ManifestInvalid
from nova_hyper.spec.errors import ImageInvalid, RegistryUnavailable
from nova_hyper.spec.pod import Pod, PodSpec, PodState
from nova_hyper.virt.blueprint import Blueprints, user_data_manifest
from nova_hyper.virt.image import ImageCache, image_ids
from tests.unit.fake_hyperd import NOT_AN_ARCHIVE, FakeHyperd
from tests.unit.virt.instances import CHECKSUM, IMAGE_ID, flavor, image_meta, instance

OWN = f"glance:{IMAGE_ID}:{CHECKSUM[:12]}"
OTHER_ID = "0d0c0b0a-0000-4000-8000-000000000002"
OTHER = f"glance:{OTHER_ID}:{'b' * 12}"


class Glance:
    """Images as Nova's image API gives them, and their data."""

    def __init__(self):
        self.data = {IMAGE_ID: [b"archive"], OTHER_ID: [b"other"]}
        self.images = [
            {
                "id": OTHER_ID,
                "name": "side",
                "status": "active",
                "container_format": "docker",
                "checksum": "b" * 32,
                "min_ram": 0,
                "properties": {},
            }
        ]
        self.downloads = []
        self.sent = 0

    def get(self, context, image_id, show_deleted=True):
        assert context == "the user's"
        assert not show_deleted
        for image in self.images:
            if image["id"] == image_id:
                return image
        raise nova_exception.ImageNotFound(image_id=image_id)

    def get_all(self, context, filters):
        assert context == "the user's"
        return [i for i in self.images if i["name"].startswith(filters["name"][:1])]

    def download(self, context, image_id):
        assert context == "the user's"
        self.downloads.append(image_id)
        for chunk in self.data[image_id]:
            self.sent += len(chunk)
            yield chunk


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def glance():
    return Glance()


@pytest.fixture
def draw(hyperd, glance):
    blueprints = Blueprints(hyperd, ImageCache(hyperd, glance), glance)

    def call(server=None, image=None):
        return blueprints.draw("the user's", server or instance(), image or image_meta())

    return call


def pod(*images, **spec):
    containers = [
        {"name": f"c{i}", **({} if image is None else {"image": image})}
        for i, image in enumerate(images)
    ]
    lines = ["apiVersion: v1", "kind: Pod", "spec:", f"  containers: {containers}"]
    lines += [f"  {key}: {value}" for key, value in spec.items()]
    return "\n".join(lines).encode()


def with_user_data(data, **options):
    return instance(user_data=base64.b64encode(data).decode(), **options)


def problem(draw, *args):
    with pytest.raises(ManifestInvalid) as caught:
        draw(*args)
    (said,) = caught.value.problems
    return said


def test_without_a_manifest_a_server_is_its_image(draw, glance):
    made = draw()
    assert (made.images, made.manifest) == ((OWN,), None)
    base = PodSpec("i", "n", ())
    assert made.complete(base) is base
    assert glance.downloads == [IMAGE_ID]


@pytest.mark.parametrize(
    "data",
    [
        b"#!/bin/sh\necho\n",
        b"#cloud-config\nkind: Pod\napiVersion: v1\n",
        b"\xff\xfe",
        b"",
        b"kind: Deployment\napiVersion: v1\n",
    ],
)
def test_other_user_data_are_left_alone(draw, data):
    assert user_data_manifest(with_user_data(data)) is None
    assert draw(with_user_data(data)).manifest is None


def test_user_data_that_are_no_base64_are_left_alone():
    assert user_data_manifest(instance(user_data="?")) is None
    assert user_data_manifest(instance()) is None


def test_user_data_may_be_a_manifest_with_the_servers_own_image(draw):
    made = draw(with_user_data(pod(None, "glance://.", hostname="mine")))
    assert made.images == (OWN, OWN)
    spec = made.complete(PodSpec("i", "n", (), hostname="n"))
    assert [(c.name, c.image) for c in spec.containers] == [("c0", OWN), ("c1", OWN)]
    assert spec.hostname == "mine"


def test_an_image_that_no_container_has_is_not_fetched(draw, glance):
    assert draw(with_user_data(pod("glance://side"))).images == (OTHER,)
    assert glance.downloads == [OTHER_ID]


@pytest.mark.parametrize("reference", ["side", OTHER_ID])
def test_a_container_may_have_another_image_of_glance_by_name_or_id(draw, reference, glance):
    made = draw(with_user_data(pod(None, f"glance://{reference}", f"glance://{reference}")))
    assert made.images == (OWN, OTHER, OTHER)
    assert glance.downloads == [IMAGE_ID, OTHER_ID]
    spec = made.complete(PodSpec("i", "n", ()))
    assert image_ids([Pod(spec, PodState.READY, ())]) == {IMAGE_ID, OTHER_ID}


@pytest.mark.parametrize("missing", ["none", "s", "d" * 8 + "-0000-4000-8000-000000000009"])
def test_an_image_that_is_not_there_is_named_with_its_place(draw, missing):
    assert problem(draw, with_user_data(pod(None, f"glance://{missing}"))) == (
        f"spec.containers[1].image is glance://{missing}, but there is no image of that id or "
        "name that you may use"
    )


def test_a_name_of_two_images_is_refused(draw, glance):
    glance.images.append({**glance.images[0], "id": IMAGE_ID})
    assert "2 images have that name; give the id instead" in problem(
        draw, with_user_data(pod("glance://side"))
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "queued"}, "is queued, not active"),
        ({"container_format": "bare"}, "has container_format 'bare', a pod needs 'docker'"),
        ({"min_ram": 512}, "needs 512 MB of memory, flavor hyper.small has 256"),
        ({"properties": {"hyper_format": "pod-manifest"}}, "is a manifest itself"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_with_its_place(draw, glance, change, said):
    glance.images[0].update(change)
    found = problem(draw, with_user_data(pod("glance://side")))
    assert found.startswith(f"spec.containers[0].image cannot be used: image {OTHER_ID}")
    assert said in found


def test_an_archive_that_hyperd_refuses_is_named_with_its_place(draw, glance):
    glance.data[OTHER_ID] = [NOT_AN_ARCHIVE]
    with pytest.raises(ImageInvalid) as caught:
        draw(with_user_data(pod("glance://side")))
    assert caught.value.message.startswith(
        f"spec.containers[0].image: image {OTHER_ID} cannot be used: not a docker"
    )


def test_the_servers_own_archive_is_named_too(draw, glance):
    glance.data[IMAGE_ID] = [NOT_AN_ARCHIVE]
    with pytest.raises(ImageInvalid, match=f"^image {IMAGE_ID} cannot be used"):
        draw()


def test_more_than_the_flavor_has_is_refused_with_both_figures(draw):
    text = pod(None).replace(
        b"'name': 'c0'", b"'name': 'c0', 'resources': {'limits': {'memory': '1Gi'}}"
    )
    assert problem(draw, with_user_data(text)) == (
        "spec.containers[0].resources ask for 1024 MiB of memory, flavor hyper.small has 256 MiB"
    )
    large = flavor(memory_mb=1024)
    assert draw(with_user_data(text, flavor=large)).manifest is not None


def test_what_is_wrong_in_user_data_is_said_before_anything_is_fetched(draw, glance):
    assert problem(draw, with_user_data(pod(None, nodeName="x"))) == (
        "spec.nodeName is not supported; remove it"
    )
    assert glance.downloads == []


# Manifests in Glance


def marked(value="pod-manifest"):
    return instance(system_metadata={"image_hyper_format": value})


def test_an_image_with_the_property_is_a_manifest(draw, glance, hyperd):
    glance.data[IMAGE_ID] = [pod("glance://side")[:20], pod("glance://side")[20:]]
    made = draw(marked())
    assert made.images == (OTHER,)
    assert hyperd.imports == [OTHER]


def test_a_small_image_that_begins_like_a_manifest_is_one(draw, glance, hyperd):
    glance.data[IMAGE_ID] = [pod("glance://side")]
    assert draw(image=image_meta(size=100)).manifest is not None
    assert hyperd.imports == [OTHER]


def test_a_small_archive_is_an_archive(draw, hyperd):
    assert draw(image=image_meta(size=7)).images == (OWN,)
    assert hyperd.imports == [OWN]


def test_an_archive_that_is_here_is_not_looked_at_again(draw, glance):
    draw()
    draw(image=image_meta(size=7))
    assert glance.downloads == [IMAGE_ID]


@pytest.mark.parametrize("size", [None, 0, document.MAX_BYTES + 1])
def test_a_large_image_is_an_archive_without_a_look(draw, glance, size):
    glance.data[IMAGE_ID] = [pod("glance://side")]
    assert draw(image=image_meta(size=size)).manifest is None


def test_of_a_large_image_with_the_property_only_the_beginning_is_read(draw, glance):
    glance.data[IMAGE_ID] = [b" " * 65536] * 1000
    assert "more than the 262144 that are allowed" in problem(draw, marked())
    assert glance.sent <= document.MAX_BYTES + 65536


def test_another_value_of_the_property_is_refused(draw):
    assert problem(draw, marked("vm")) == (
        f"image {IMAGE_ID} has the property hyper_format=vm, which can only be pod-manifest"
    )


def test_an_image_with_the_property_that_is_no_manifest_says_so(draw):
    assert "is no object with apiVersion" in problem(draw, marked())


def test_a_manifest_in_glance_has_no_image_of_its_own(draw, glance):
    glance.data[IMAGE_ID] = [pod("glance://side", None)]
    assert problem(draw, marked()) == (
        "spec.containers[1].image is missing: the server's own image is this manifest; name an "
        "image"
    )


def test_a_manifest_in_the_user_data_wins(draw, glance):
    glance.data[IMAGE_ID] = [pod("glance://none")]
    server = with_user_data(
        pod("glance://side"), system_metadata={"image_hyper_format": "pod-manifest"}
    )
    assert draw(server).images == (OTHER,)


# References of registries


def test_an_image_of_a_registry_that_is_on_the_host_is_used(draw, hyperd):
    hyperd.import_image("docker.io/library/web:1", [b"web"])
    assert draw(with_user_data(pod("docker.io/library/web:1"))).images == (
        "docker.io/library/web:1",
    )


def test_an_image_that_is_not_here_is_pulled(draw, hyperd):
    hyperd.registry["docker.io/library/web:1"] = b"web"
    assert draw(with_user_data(pod("web:1"))).images == ("docker.io/library/web:1",)
    hyperd.registry.clear()
    assert draw(with_user_data(pod("docker.io/library/web:1"))).images


def test_a_tag_that_may_change_is_pulled_each_time(draw, hyperd):
    hyperd.registry["docker.io/library/web"] = b"web"
    draw(with_user_data(pod("web")))
    draw(with_user_data(pod("web")))
    assert hyperd.calls.count("pull") == 2


def test_what_the_host_may_not_pull_is_named_with_its_place(draw):
    said = problem(draw, with_user_data(pod("quay.io/web:1")))
    assert said == "spec.containers[0].image: this host may not pull from quay.io"


def test_what_is_never_pulled_must_be_there(draw):
    text = pod("quay.io/web:1").replace(b"'image'", b"'imagePullPolicy': 'Never', 'image'")
    assert problem(draw, with_user_data(text)) == (
        "spec.containers[0].image is quay.io/web:1, which is not on the host and never pulled"
    )


def test_a_registry_that_does_not_answer_is_this_hosts_trouble(draw, hyperd):
    hyperd.fail_next["pull"] = RegistryUnavailable("quay.io does not answer")
    with pytest.raises(
        RegistryUnavailable, match=r"^spec.containers\[0\].image: quay.io does not"
    ):
        draw(with_user_data(pod("quay.io/web:1")))


@pytest.mark.parametrize(
    "name", [f"glance:{OTHER_ID}", OTHER, "sha256:" + "0" * 64, "0123456789ab"]
)
def test_images_of_others_cannot_be_had_by_their_names_in_the_store(draw, hyperd, name):
    hyperd.import_image(OTHER, [b"somebody else's"])
    assert "is no reference of a registry" in problem(draw, with_user_data(pod(name)))
