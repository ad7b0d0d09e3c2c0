"""The client's calls for images beyond their import."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from nova_hyper.client.body import Body
from nova_hyper.client.calls import Caller, quote
from nova_hyper.spec import codec
from nova_hyper.spec.errors import HyperError
from nova_hyper.spec.image import Image
from nova_hyper.spec.usage import DiskUsage, Pruned

# Removing many large files takes its time.
_REMOVAL_S = 600.0
# As is reading and converting a large layer.
_COMMIT_S = 3600.0


class ImageCalls:
    """What a client can do with images and registries."""

    def pull(
        self: Caller, ref: str, username: str | None = None, password: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Pull an image; yield what happens, as ``POST /v1/images/pull`` says, to the end.

        The last event is ``done`` and has the image.  Who stops earlier ends the pull.

        :raises PullRefused: when the host's configuration does not allow it.
        :raises RegistryDenied: when the registry wants other credentials.
        :raises RegistryFailed: when it fails otherwise.
        """
        body = {"ref": ref, "username": username, "password": password}
        given = {key: value for key, value in body.items() if value is not None}
        return _events(self._body("/v1/images/pull", "POST", given))

    def save_image(self: Caller, ref: str, form: str = "docker") -> Body:
        """Return an archive of an image, ``docker`` or ``oci``, as it comes.

        :raises ImageNotFound: when the host does not have it.
        """
        query = urllib.parse.urlencode({"format": form})
        return self._body(f"/v1/images/{quote(ref)}/archive?{query}")

    def commit(
        self: Caller,
        ref: str,
        name: str | None = None,
        *,
        container: str | None = None,
        changes: Sequence[str] = (),
        freeze: bool = True,
    ) -> Image:
        """Make an image, called *name*, of what a container of the pod *ref* has written.

        *changes* are of the image's execution parameters (``CMD ["httpd"]``).
        A running container stands still meanwhile where *freeze* is True.

        :raises Conflict: when the pod has nothing to give in its state.
        """
        body = {"container": container, "name": name, "freeze": freeze}
        given: dict[str, Any] = {k: v for k, v in body.items() if v is not None}
        given["changes"] = list(changes)
        target = f"/v1/pods/{quote(ref)}/commit"
        data = self._json("POST", target, given, extra_seconds=_COMMIT_S)
        return codec.decode(Image, data)

    def snapshot(
        self: Caller, ref: str, container: str | None = None, changes: Sequence[str] = ()
    ) -> Body:
        """Return the docker archive of what a commit would make, and the host would not keep.

        It comes when the container has been read, which stands still until then; close it.

        :raises Conflict: when the pod has nothing to give in its state.
        """
        given: dict[str, Any] = {"changes": list(changes)}
        if container is not None:
            given["container"] = container
        return self._body(f"/v1/pods/{quote(ref)}/snapshot", "POST", given, _COMMIT_S)

    def tag_image(self: Caller, ref: str, name: str) -> Image:
        """Give an image one more name, which another image may lose.

        :raises ImageNotFound: when the host does not have it.
        """
        data = self._json("POST", f"/v1/images/{quote(ref)}/tag", {"name": name})
        return codec.decode(Image, data)

    def prune_images(self: Caller, everything: bool = False) -> Pruned:
        """Remove the images without a name that no pod needs, or *everything* no pod needs."""
        data = self._json(
            "POST", "/v1/images/prune", {"all": everything}, extra_seconds=_REMOVAL_S
        )
        return codec.decode(Pruned, data)

    def disk_usage(self: Caller) -> DiskUsage:
        """Return what takes room on the host's disk."""
        return codec.decode(DiskUsage, self._json("GET", "/v1/system/df"))


def _events(body: Body) -> Iterator[dict[str, Any]]:
    with body:
        while line := body.readline():
            try:
                event = json.loads(line)
            except ValueError as exc:
                raise HyperError("hyperd answered with something that is not JSON") from exc
            yield event
