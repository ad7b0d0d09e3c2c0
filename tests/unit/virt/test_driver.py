"""The driver as nova-compute uses it: configuration, host, images."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import nova.conf
import pytest
from nova import exception as nova_exception
from nova.compute import provider_tree, task_states
from oslo_config import fixture as config_fixture

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable
from nova_hyper.spec.pod import Pod, PodSpec, PodState, Rescued
from nova_hyper.virt import driver
from tests.unit.fake_hyperd import HOST, FakeHyperd
from tests.unit.virt.instances import IMAGE_ID, UUID, instance


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def conf():
    with config_fixture.Config(nova.conf.CONF) as fixture:
        fixture.conf([], default_config_files=[])
        yield fixture


@pytest.fixture
def glance():
    api = mock.Mock()
    api.get.return_value = {"id": IMAGE_ID, "container_format": "docker", "checksum": "c" * 32}
    api.download.side_effect = lambda context, image_id: iter([b"archive"])
    return api


@pytest.fixture
def driven(hyperd, conf, glance):
    with (
        mock.patch.object(driver, "HyperClient", return_value=hyperd),
        mock.patch.object(driver.glance, "API", return_value=glance),
    ):
        yield driver.HyperDriver(mock.Mock())


def test_the_client_is_made_from_the_configuration(conf):
    conf.config(group="hyper", socket="/run/x.sock", request_timeout=7, connect_timeout=8)
    with mock.patch.object(driver, "HyperClient") as client:
        driver.HyperDriver(mock.Mock())
    client.assert_called_once_with("/run/x.sock", 7, 8)


def test_starting_without_hyperd_says_what_to_start(driven, hyperd):
    hyperd.fail_next["version"] = DaemonUnavailable("hyperd does not answer; start it")
    with pytest.raises(nova_exception.HypervisorUnavailable, match="start it"):
        driven.init_host("host")


def test_the_node_is_the_host_and_is_known_while_hyperd_is_away(driven, hyperd):
    assert driven.get_available_nodes() == ["hyper-1"]
    hyperd.fail_next["host"] = DaemonUnavailable("gone")
    assert driven.get_available_nodes(refresh=True) == ["hyper-1"]


def test_events_are_followed_from_init_to_cleanup(driven):
    with mock.patch.object(driver, "LifecycleEvents") as events:
        driven.init_host("host")
        events.return_value.start.assert_called_once_with()
        driven.cleanup_host("host")
        events.return_value.stop.assert_called_once_with()


def tree():
    found = provider_tree.ProviderTree()
    found.new_root("hyper-1", UUID)
    return found


def test_placement_gets_inventory_and_traits_by_the_configuration(driven, conf):
    conf.config(
        reserved_host_memory_mb=256,
        reserved_host_cpus=1,
        reserved_host_disk_mb=1500,
        cpu_allocation_ratio=2.0,
        ram_allocation_ratio=1.5,
        disk_allocation_ratio=1.0,
    )
    found = tree()
    driven.update_provider_tree(found, "hyper-1")
    inventory = found.data("hyper-1").inventory
    assert inventory["VCPU"]["reserved"] == 1
    assert inventory["VCPU"]["allocation_ratio"] == 2.0
    assert inventory["MEMORY_MB"]["reserved"] == 256 + 4 * HOST.pod_overhead_mib
    assert inventory["MEMORY_MB"]["allocation_ratio"] == 1.5
    assert inventory["DISK_GB"]["reserved"] == 2
    assert "CUSTOM_HYPER" in found.data("hyper-1").traits


def test_the_image_cache_is_reserved_where_nova_is_told_to(driven, conf, hyperd):
    conf.config(reserved_host_disk_mb=0)
    conf.config(group="workarounds", reserve_disk_resource_for_image_cache=True)
    hyperd.import_image("x", [b"x"])
    found = tree()
    driven.update_provider_tree(found, "hyper-1")
    assert found.data("hyper-1").inventory["DISK_GB"]["reserved"] == 1


def test_traits_that_others_set_stay(driven):
    found = tree()
    found.add_traits("hyper-1", "CUSTOM_RACK_7")
    driven.update_provider_tree(found, "hyper-1")
    assert {"CUSTOM_RACK_7", "CUSTOM_HYPER"} <= found.data("hyper-1").traits


def test_no_figures_are_made_up_while_hyperd_is_away(driven, hyperd):
    for call in (
        lambda: driven.get_available_resource("hyper-1"),
        lambda: driven.update_provider_tree(tree(), "hyper-1"),
    ):
        hyperd.fail_next["host"] = DaemonUnavailable("gone")
        with pytest.raises(nova_exception.HypervisorUnavailable):
            call()
    hyperd.fail_next["pods"] = DaemonUnavailable("gone")
    with pytest.raises(nova_exception.HypervisorUnavailable):
        driven.list_instance_uuids()


def test_an_image_is_cached_ahead_once(driven, hyperd):
    assert driven.cache_image(None, IMAGE_ID) is True
    assert driven.cache_image(None, IMAGE_ID) is False
    assert hyperd.imports == [f"glance:{IMAGE_ID}:cccccccccccc"]


def test_an_image_that_is_not_for_pods_is_not_cached(driven, glance, hyperd):
    glance.get.return_value["container_format"] = "bare"
    with pytest.raises(nova_exception.ImageUnacceptable):
        driven.cache_image(None, IMAGE_ID)
    assert hyperd.imports == []


def test_a_pod_manifest_is_not_cached_ahead(driven, glance, hyperd):
    glance.get.return_value["properties"] = {"hyper_format": "pod-manifest"}
    assert driven.cache_image(None, IMAGE_ID) is False
    assert hyperd.imports == []


@pytest.mark.parametrize("in_rescue", [False, True])
def test_an_image_that_only_a_container_of_a_pod_names_is_in_use(driven, conf, hyperd, in_rescue):
    driven.cache_image(None, IMAGE_ID)
    name = f"glance:{IMAGE_ID}:cccccccccccc"
    conf.config(group="image_cache", remove_unused_original_minimum_age_seconds=0)
    spec = PodSpec("i", "n", (Container("side", name),))
    tools = PodSpec("i", "n", (Container("rescue", "tools"),))
    pod = Pod(tools, PodState.STOPPED, (), rescued=Rescued(spec, ())) if in_rescue else None
    pod = pod or Pod(spec, PodState.STOPPED, ())
    with mock.patch.object(hyperd, "pods", return_value=[pod]):
        driven.manage_image_cache(None, [])
    assert hyperd.image(name)
    driven.manage_image_cache(None, [])
    assert hyperd.images() == ()


def test_the_image_cache_is_managed_by_novas_options(driven, conf, hyperd):
    driven.cache_image(None, IMAGE_ID)
    conf.config(group="image_cache", remove_unused_original_minimum_age_seconds=0)
    driven.manage_image_cache(
        None, [SimpleNamespace(image_ref=IMAGE_ID, kernel_id="", ramdisk_id="")]
    )
    assert hyperd.images()
    conf.config(group="image_cache", remove_unused_base_images=False)
    driven.manage_image_cache(None, [])
    assert hyperd.images()
    conf.config(group="image_cache", remove_unused_base_images=True)
    driven.manage_image_cache(None, [SimpleNamespace(image_ref="", kernel_id="", ramdisk_id="")])
    assert hyperd.images() == ()


def test_managing_the_image_cache_waits_for_a_hyperd_that_is_away(driven, hyperd):
    hyperd.fail_next["images"] = DaemonUnavailable("gone")
    driven.manage_image_cache(None, [])


def test_an_instance_without_a_pod_does_not_exist(driven):
    assert driven.instance_exists(instance()) is False


def test_a_pod_that_cannot_be_shelved_is_not_stopped_for_it(driven, hyperd):
    image = hyperd.import_image("i", [b"x"])
    hyperd.create_pod(PodSpec(UUID, "instance-7", (Container("main", image.id),)))
    hyperd.start_pod(UUID)
    driven.power_off(instance(task_state=task_states.SHELVING), timeout=10)
    assert hyperd.pod(UUID).state is PodState.RUNNING
    driven.power_off(instance(task_state=task_states.POWERING_OFF), timeout=10)
    assert hyperd.pod(UUID).state is PodState.STOPPED


def test_uptime_is_what_clients_parse(driven):
    assert "load average" in driven.get_host_uptime()
