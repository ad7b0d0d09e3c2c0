"""hyperd's errors as Nova's exceptions.

What ``nova.compute.manager`` does with an exception of ``spawn`` depends on its
class (``_build_and_run_instance``): BuildAbortException ends the build with the
reason as the server's fault; anything else is tried on another host first.  So
what no host can help (a broken image, a missing command) aborts, and what is
this host's trouble (daemon away, disk full, a guest that does not boot) does
not.  A fault holds 255 characters: every message is one sentence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from nova import exception as nova_exception

from nova_hyper import exception
from nova_hyper.spec import errors

# No host would do better with the same image and flavor.
_HOPELESS = (
    errors.ImageInvalid,
    errors.ImageUnsuitable,
    errors.BootFileInvalid,
    errors.ContainerFailed,
    errors.InvalidRequest,
)
_FULL = (errors.InsufficientMemory, errors.DiskFull)
_WORDS = "its console ends with: "
_SAID = 100
_AWAY = (errors.DaemonUnavailable, errors.HypervisorUnavailable)


def abort(instance: Any, reason: str) -> nova_exception.BuildAbortException:
    """Return the exception that ends a build for good."""
    return nova_exception.BuildAbortException(instance_uuid=instance.uuid, reason=reason)


def of_build(error: errors.HyperError, instance: Any) -> nova_exception.NovaException:
    """Return what a failed build raises into Nova."""
    if isinstance(error, _HOPELESS):
        return abort(instance, error.message)
    if isinstance(error, errors.GuestFailed) and _brings_its_own(instance):
        # It is the image's kernel, ramdisk or command line: so it would be on any host. A fault is
        # short, so the console's words come first.
        _, _, words = error.message.partition(_WORDS)
        said = f"{_WORDS}{words[:_SAID]}" if words else error.message[:_SAID]
        return abort(instance, f"what the image boots does not come up; {said}")
    if isinstance(error, _FULL):
        # The class's own text ends with a full stop.
        return nova_exception.ComputeResourcesUnavailable(reason=error.message.rstrip("."))
    return of_operation(error, instance)


def _brings_its_own(instance: Any) -> bool:
    line = (instance.system_metadata or {}).get("image_os_command_line")
    return bool(instance.kernel_id or instance.ramdisk_id or line)


def of_operation(error: errors.HyperError, instance: Any) -> nova_exception.NovaException:
    """Return what any other failed operation on *instance* raises into Nova."""
    if isinstance(error, errors.PodNotFound):
        return nova_exception.InstanceNotFound(instance_id=instance.uuid)
    if isinstance(error, _AWAY):
        return exception.HyperdUnavailable(reason=error.message)
    return exception.PodFailed(reason=error.message)


@contextlib.contextmanager
def building(instance: Any) -> Iterator[None]:
    """Turn hyperd's errors in the body into those of a build."""
    try:
        yield
    except errors.HyperError as error:
        raise of_build(error, instance) from error
    except (exception.VifNotWired, exception.VifWiringFailed) as error:
        # Nova's own exception for this says only "Failed to allocate the network(s)".
        raise abort(instance, str(error)) from error


@contextlib.contextmanager
def naming_image(image: str) -> Iterator[None]:
    """Say which *image* it is that hyperd refuses in the body: it saw an archive only."""
    try:
        yield
    except errors.ImageInvalid as error:
        raise errors.ImageInvalid(
            f"{image} cannot be used: {error.message}", **error.details
        ) from error


@contextlib.contextmanager
def operating(
    instance: Any, failure: type[nova_exception.NovaException] | None = None
) -> Iterator[None]:
    """Turn hyperd's errors in the body into Nova's.

    *failure* is Nova's exception for this operation (it takes ``reason``); it
    stands for whatever is neither "no such instance" nor "hyperd is away".
    """
    try:
        yield
    except errors.HyperError as error:
        translated = of_operation(error, instance)
        if failure is not None and isinstance(translated, exception.PodFailed):
            raise failure(reason=error.message) from error
        raise translated from error


@contextlib.contextmanager
def rolling_back() -> Iterator[None]:
    """Have the manager leave the server in the state that it was in, with the fault."""
    try:
        yield
    except nova_exception.NovaException as exc:
        raise nova_exception.InstanceFaultRollback(inner_exception=exc) from exc


@contextlib.contextmanager
def asking_host() -> Iterator[None]:
    """Turn hyperd's errors in the body into Nova's, where no instance is concerned."""
    try:
        yield
    except _AWAY as error:
        raise exception.HyperdUnavailable(reason=error.message) from error
    except errors.HyperError as error:
        raise exception.PodFailed(reason=error.message) from error
