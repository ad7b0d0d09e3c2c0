"""hyperd's errors as Nova's, and what the compute manager makes of them."""

from __future__ import annotations

import pytest
from nova import exception as nova_exception

from nova_hyper import exception
from nova_hyper.spec import errors as spec_errors
from nova_hyper.virt import errors
from tests.unit.virt.instances import IMAGE_ID, UUID, image_meta, instance

# (error, does the build end for good)
OF_BUILD = [
    (spec_errors.ImageInvalid, True),
    (spec_errors.ImageUnsuitable, True),
    (spec_errors.BootFileInvalid, True),
    (spec_errors.ContainerFailed, True),
    (spec_errors.InvalidRequest, True),
    (spec_errors.InsufficientMemory, False),
    (spec_errors.DiskFull, False),
    (spec_errors.GuestMissing, False),
    (spec_errors.GuestFailed, False),
    (spec_errors.NetworkFailed, False),
    (spec_errors.HypervisorUnavailable, False),
    (spec_errors.HypervisorFailed, False),
    (spec_errors.DaemonUnavailable, False),
    (spec_errors.SavedStateUnusable, False),
    (spec_errors.HyperError, False),
    (spec_errors.PullRefused, False),
    (spec_errors.RegistryDenied, False),
    (spec_errors.RegistryFailed, False),
    (spec_errors.RegistryUnavailable, False),
    (spec_errors.PortsExhausted, False),
]


@pytest.mark.parametrize(("error", "ends"), OF_BUILD)
def test_a_build_ends_where_no_host_can_help_and_goes_to_another_host_otherwise(error, ends):
    with pytest.raises(nova_exception.NovaException) as caught, errors.building(instance()):
        raise error("the sentence")
    assert isinstance(caught.value, nova_exception.BuildAbortException) is ends
    # What the manager makes the server's fault: a fault of 255 characters keeps the sentence.
    assert "the sentence" in caught.value.format_message()


@pytest.mark.parametrize(
    "server",
    [
        instance(kernel_id="k"),
        instance(ramdisk_id="r"),
        instance(system_metadata={"image_os_command_line": "maxcpus=0"}),
    ],
)
def test_what_an_image_boots_in_vain_is_tried_on_no_other_host_and_says_its_last_words(server):
    said = "x" * 200 + "; its console ends with: Kernel panic - not syncing: VFS" + "y" * 300
    with pytest.raises(nova_exception.BuildAbortException) as caught, errors.building(server):
        raise spec_errors.GuestFailed(said)
    assert "Kernel panic - not syncing: VFS" in caught.value.format_message()[:255]


def test_every_error_of_the_border_is_in_the_table():
    known = {error for error, _ in OF_BUILD}
    known |= {
        spec_errors.NotFound,
        spec_errors.PodNotFound,
        spec_errors.ContainerNotFound,
        spec_errors.TooManyStreams,
        spec_errors.ImageNotFound,
        spec_errors.Conflict,
        spec_errors.PodExists,
        spec_errors.PodPaused,
        # Of calls that Nova does not make.
        spec_errors.ContainerNotFound,
        spec_errors.TooManyStreams,
        spec_errors.PullRefused,
        spec_errors.RegistryDenied,
        spec_errors.RegistryFailed,
        spec_errors.RegistryUnavailable,
        spec_errors.ImageInUse,
        spec_errors.BootFileNotFound,
        spec_errors.BootFileInUse,
    }
    border = {
        value
        for value in vars(spec_errors).values()
        if isinstance(value, type) and issubclass(value, spec_errors.HyperError)
    }
    assert known == border


def test_too_little_of_something_is_unavailable_resources_with_one_full_stop():
    with (
        pytest.raises(nova_exception.ComputeResourcesUnavailable) as caught,
        errors.building(instance()),
    ):
        raise spec_errors.DiskFull("the disk is full.")
    assert caught.value.format_message() == "Insufficient compute resources: the disk is full."


def test_a_port_that_is_not_wired_ends_the_build_with_its_own_sentence():
    with (
        pytest.raises(nova_exception.BuildAbortException, match=r"port p1 .* 5 seconds"),
        errors.building(instance()),
    ):
        raise exception.VifNotWired(ports="p1", seconds=5)


def test_a_refused_archive_is_named_and_still_what_it_was():
    with (
        pytest.raises(spec_errors.ImageInvalid) as caught,
        errors.naming_image(f"image {image_meta().id}"),
    ):
        raise spec_errors.ImageInvalid("no tar file", member="x")
    assert str(caught.value) == f"image {IMAGE_ID} cannot be used: no tar file"
    assert caught.value.details == {"member": "x"}


def test_an_operation_on_what_is_not_there_is_an_unknown_instance():
    with pytest.raises(nova_exception.InstanceNotFound, match=UUID), errors.operating(instance()):
        raise spec_errors.PodNotFound("no pod")


def test_an_operation_fails_as_novas_own_exception_for_it():
    failure = nova_exception.InstancePowerOffFailure
    with (
        pytest.raises(failure, match="Failed to power off instance: it hangs"),
        errors.operating(instance(), failure),
    ):
        raise spec_errors.GuestFailed("it hangs")


@pytest.mark.parametrize(
    "error", [spec_errors.DaemonUnavailable, spec_errors.HypervisorUnavailable]
)
def test_hyperd_or_libvirt_away_is_an_unavailable_hypervisor_with_the_sentence(error):
    for context in (
        errors.operating(instance(), nova_exception.InstancePowerOffFailure),
        errors.asking_host(),
    ):
        with pytest.raises(nova_exception.HypervisorUnavailable) as caught, context:
            raise error("start it")
        assert str(caught.value) == "start it"
