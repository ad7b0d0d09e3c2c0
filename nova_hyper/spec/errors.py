"""Errors that cross the border between ``hyperd`` and its clients.

An error is a *code* that programs test, a *message* of one sentence that says
what was wrong and what to do, and *details* for whoever wants more.  On the
wire it is ``{"error": {"code": ..., "message": ..., "details": {...}}}`` with
the class's HTTP status; :func:`from_wire` gives the same class back.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HyperError(Exception):
    """Something failed in a way that nobody has given a better name."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of this error."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class InvalidRequest(HyperError):
    """The request does not fit the OpenAPI document, or contradicts itself."""

    code = "invalid_request"
    status = 400


class NotFound(HyperError):
    """There is no such resource or operation."""

    code = "not_found"
    status = 404


class PodNotFound(NotFound):
    """There is no pod of that id or name."""

    code = "pod_not_found"


class ContainerNotFound(NotFound):
    """The pod has no container of that name."""

    code = "container_not_found"


class ImageNotFound(NotFound):
    """There is no image of that id or name on this host."""

    code = "image_not_found"


class Conflict(HyperError):
    """The resource is in a state that does not allow the operation."""

    code = "conflict"
    status = 409


class PodPaused(Conflict):
    """The pod is paused, so that nothing in it can answer."""

    code = "pod_paused"


class PodExists(Conflict):
    """Another pod has this id or name."""

    code = "pod_exists"


class ImageInUse(Conflict):
    """A pod still needs the image."""

    code = "image_in_use"


class ImageInvalid(HyperError):
    """The archive, or something in it, is not a usable image."""

    code = "image_invalid"
    status = 422


class ImageUnsuitable(HyperError):
    """The image is fine, but not for this host or this pod (architecture, size, no command)."""

    code = "image_unsuitable"
    status = 422


class PullRefused(HyperError):
    """The host's configuration does not allow to pull from that registry."""

    code = "pull_refused"
    status = 403


class RegistryDenied(HyperError):
    """The registry wants other credentials, or any."""

    code = "registry_denied"
    status = 403


class RegistryFailed(HyperError):
    """The registry does not answer, does not have it, or answers with something wrong."""

    code = "registry_failed"
    status = 502


class BootFileNotFound(NotFound):
    """There is no kernel or ramdisk of that id or name on this host."""

    code = "boot_file_not_found"


class BootFileInUse(Conflict):
    """A pod still boots the kernel or ramdisk."""

    code = "boot_file_in_use"


class BootFileInvalid(HyperError):
    """It is no kernel or ramdisk that can be booted here."""

    code = "boot_file_invalid"
    status = 422


class RegistryUnavailable(RegistryFailed):
    """The registry does not answer now, but another try may succeed."""

    code = "registry_unavailable"
    status = 503


class InsufficientMemory(HyperError):
    """The pod asks for more memory than the host has, or for less than a guest needs."""

    code = "insufficient_memory"
    status = 422


class TooManyStreams(HyperError):
    """As many long-lived calls as the configuration allows are under way."""

    code = "too_many_streams"
    status = 503


class PortsExhausted(HyperError):
    """Every port that the configuration gives to consoles is in use."""

    code = "ports_exhausted"
    status = 503


class DiskFull(HyperError):
    """The host's disk has no room left."""

    code = "disk_full"
    status = 507


class GuestMissing(HyperError):
    """There is no guest kernel or initramfs to boot."""

    code = "guest_missing"
    status = 503


class GuestFailed(HyperError):
    """The micro-VM started but its agent failed, or never answered."""

    code = "guest_failed"


class ContainerFailed(HyperError):
    """The guest could not start a container (no such command, user or directory)."""

    code = "container_failed"
    status = 422


class NetworkFailed(HyperError):
    """A network interface could not be attached."""

    code = "network_failed"


class HypervisorUnavailable(HyperError):
    """libvirt does not answer."""

    code = "hypervisor_unavailable"
    status = 503


class HypervisorFailed(HyperError):
    """libvirt or QEMU refused an operation."""

    code = "hypervisor_failed"


class SavedStateUnusable(HyperError):
    """The saved memory of a suspended pod is damaged, or does not fit this host."""

    code = "saved_state_unusable"
    status = 422


class DaemonUnavailable(HyperError):
    """``hyperd`` does not answer on its socket (raised by the client, never sent)."""

    code = "daemon_unavailable"
    status = 503


def _all(cls: type[HyperError]) -> dict[str, type[HyperError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        found.update(_all(sub))
    return found


def from_wire(data: Any, status: int = 500) -> HyperError:
    """Return the error that a response body describes; never raises.

    A body that is not one of ours (a proxy's, a newer daemon's) becomes a plain
    :class:`HyperError` with what can be read of it.
    """
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return HyperError(f"hyperd answered with status {status} and no error")
    cls = _all(HyperError).get(str(error.get("code")), HyperError)
    details = error.get("details")
    result = cls(str(error.get("message", f"status {status}")))
    result.details = details if isinstance(details, dict) else {}
    return result
