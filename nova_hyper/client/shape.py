"""The client's calls for the shape of pods, and for what is kept of them."""

from __future__ import annotations

from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.pod import Pod
from nova_hyper.spec.shape import Shape

# All that a pod has written is read and written once: minutes on a slow disk.
_COPY_S = 3600.0


class ShapeCalls:
    """What a client can do about the size of a pod."""

    def reshape_pod(self: Caller, ref: str, shape: Shape, dry_run: bool = False) -> Pod:
        """Give a stopped pod another shape; with *dry_run* only tell whether it could have it.

        :raises InvalidRequest: when a disk would become smaller.
        :raises Conflict: when the pod is not stopped.
        :raises DiskFull: when there is no room for a disk; the pod stays as it was.
        """
        target = f"/v1/pods/{quote(ref)}/shape{'?dry_run=true' if dry_run else ''}"
        return codec.decode(Pod, self._json("PUT", target, codec.encode(shape)))

    def make_restore_point(self: Caller, ref: str) -> Pod:
        """Keep the shape and the disks of a stopped pod; what is kept already stays.

        :raises Conflict: when it is not stopped.
        :raises DiskFull: when there is no room for the copies.
        """
        target = f"/v1/pods/{quote(ref)}/restore-point"
        return codec.decode(Pod, self._json("PUT", target, extra_seconds=_COPY_S))

    def drop_restore_point(self: Caller, ref: str) -> Pod:
        """Remove what is kept of a pod, if anything is."""
        return codec.decode(Pod, self._json("DELETE", f"/v1/pods/{quote(ref)}/restore-point"))

    def restore_pod(self: Caller, ref: str) -> Pod:
        """Make a stopped pod what was kept, and keep that no longer; without it, it stays.

        :raises Conflict: when it is not stopped.
        """
        return codec.decode(Pod, self._json("POST", f"/v1/pods/{quote(ref)}/restore", {}))
