"""Where the disks of instances are, as evacuation and resize ask."""

from __future__ import annotations

from unittest import mock

import nova.conf
import pytest
from oslo_config import fixture as config_fixture

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import DaemonUnavailable
from nova_hyper.spec.pod import PodSpec, PodState
from nova_hyper.virt import driver
from tests.unit.fake_hyperd import FakeHyperd
from tests.unit.virt.instances import UUID, flavor, instance

METADATA = {"image_container_format": "docker", "image_disk_format": "raw"}


@pytest.fixture
def conf():
    with config_fixture.Config(nova.conf.CONF) as fixture:
        fixture.conf([], default_config_files=[])
        fixture.config(host="hyper-1", my_ip="10.0.0.1")
        yield fixture


@pytest.fixture
def hyperd():
    return FakeHyperd()


@pytest.fixture
def driven(hyperd, conf):
    glance = mock.Mock()
    glance.download.side_effect = lambda context, image_id: iter([b"archive"])
    with (
        mock.patch.object(driver, "HyperClient", return_value=hyperd),
        mock.patch.object(driver.glance, "API", return_value=glance),
    ):
        yield driver.HyperDriver(mock.MagicMock())


@pytest.fixture
def pod(hyperd):
    hyperd.import_image("i", [b"archive"])
    hyperd.create_pod(PodSpec(UUID, "web", (Container("main", "i"),), labels={"creator": "nova"}))


def test_an_instance_is_on_the_disk_of_the_host_that_has_its_pod(driven, pod):
    assert driven.instance_on_disk(instance()) is True


def test_an_instance_of_a_failed_host_is_on_no_other_hosts_disk(driven):
    assert driven.instance_on_disk(instance()) is False
    assert driven.instance_exists(instance()) is False


def test_only_a_host_itself_shares_its_disks(driven):
    asked = driven.check_instance_shared_storage_local(None, instance())
    assert driven.check_instance_shared_storage_remote(None, asked) is True
    driven.check_instance_shared_storage_cleanup(None, asked)
    assert driven.check_instance_shared_storage_remote(None, {"host": "hyper-2"}) is False


def test_a_revert_on_the_same_host_stops_the_pod_and_removes_nothing(driven, hyperd, pod):
    shared = driven.check_instance_shared_storage_remote(
        None, driven.check_instance_shared_storage_local(None, instance())
    )
    driven.destroy(None, instance(), [], None, destroy_disks=not shared)
    assert hyperd.pod(UUID).state is PodState.STOPPED


def test_an_evacuated_instance_is_spawned_from_what_nova_kept_of_its_image(driven, hyperd):
    server = instance(system_metadata=METADATA)
    driven.spawn(None, server, server.image_meta, [], None, {}, network_info=[])
    assert hyperd.pod(UUID).state is PodState.RUNNING


def test_a_host_that_comes_back_finds_and_removes_what_was_evacuated(driven, hyperd, pod):
    assert driven.list_instance_uuids() == [UUID]
    driven.destroy(None, instance(host="hyper-2"), [], {}, destroy_disks=True)
    assert driven.list_instance_uuids() == []


def test_the_files_of_a_deleted_instance_are_removed_when_hyperd_can(driven, hyperd, pod):
    hyperd.fail_next["delete_pod"] = DaemonUnavailable("gone")
    assert driven.delete_instance_files(instance()) is False
    assert driven.delete_instance_files(instance()) is True
    assert hyperd.pods() == ()
    assert driven.delete_instance_files(instance()) is True


def test_a_resize_goes_through_the_drivers_methods(driven, hyperd):
    server = instance(system_metadata=METADATA)
    driven.spawn(None, server, server.image_meta, [], None, {}, network_info=[])
    large = flavor(id=2, vcpus=2)
    told = driven.migrate_disk_and_power_off(None, server, "10.0.0.1", large, [], None, 5)
    server.old_flavor, server.flavor = server.flavor, large
    driven.finish_migration(
        None, mock.Mock(), server, told, [], server.image_meta, False, {}, None, True
    )
    assert hyperd.pod(UUID).spec.vcpus == 2
    driven.finish_revert_migration(None, server, [], mock.Mock(), None, True)
    assert (hyperd.pod(UUID).spec.vcpus, hyperd.pod(UUID).state) == (1, PodState.RUNNING)
    driven.confirm_migration(None, mock.Mock(), server, [])


def test_a_hard_reboot_mends_and_a_soft_one_does_not(driven, hyperd):
    server = instance(system_metadata=METADATA)
    driven.spawn(None, server, server.image_meta, [], None, {}, network_info=[])
    server.flavor = flavor(vcpus=2)
    driven.reboot(None, server, [], "SOFT")
    assert hyperd.pod(UUID).spec.vcpus == 1
    driven.reboot(None, server, [], "HARD")
    assert (hyperd.pod(UUID).spec.vcpus, hyperd.pod(UUID).state) == (2, PodState.RUNNING)
