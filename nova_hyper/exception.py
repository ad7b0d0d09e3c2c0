"""Exceptions that the driver raises into Nova.

They subclass Nova's own, so that the compute manager treats them as it treats
those of any driver; what they add is the sentence that says what to do.
"""

from __future__ import annotations

from nova import exception


class HyperdUnavailable(exception.HypervisorUnavailable):
    """hyperd or libvirt does not answer; another host can take the build."""

    msg_fmt = "%(reason)s"


class PodFailed(exception.InternalError):
    """hyperd could not do what was asked, for a reason of this host."""

    msg_fmt = "%(reason)s"


class VifUnsupported(exception.VirtualInterfacePlugException):
    """A port is of a kind that a pod cannot have on this host."""

    msg_fmt = "Port %(port)s cannot be plugged into a pod: %(reason)s"


class VifPlugFailed(exception.VirtualInterfacePlugException):
    """os-vif could not connect a port to the host."""

    msg_fmt = "Port %(port)s could not be plugged: %(reason)s"


class VifUnplugFailed(exception.VirtualInterfaceUnplugException):
    """os-vif could not disconnect a port from the host."""

    msg_fmt = "Port %(port)s could not be unplugged: %(reason)s"


class VifNotWired(exception.NovaException):
    """Neutron did not say in time that a port works."""

    msg_fmt = (
        "Neutron did not report the port %(ports)s as plugged within %(seconds)d seconds "
        "(vif_plugging_timeout); see the log of the L2 agent on this host"
    )


class VifWiringFailed(exception.NovaException):
    """Neutron said that it could not make a port work."""

    msg_fmt = "Neutron failed to wire the port %(port)s; see the log of the L2 agent on this host"


class ImageUnreadable(exception.NovaException):
    """Glance stopped sending an image, or sent something else than it promised."""

    msg_fmt = "Image %(image_id)s could not be read from Glance: %(reason)s"


class NoSnapshot(exception.NovaException):
    """No image can be made of a pod."""

    msg_fmt = "%(reason)s"


class ImageNotStored(exception.NovaException):
    """Glance did not take the image of a server."""

    msg_fmt = "Glance did not store the image %(image_id)s of the server: %(reason)s"
