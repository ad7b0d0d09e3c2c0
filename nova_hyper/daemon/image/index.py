"""What the store knows beside its layers: images, names, leases; kept in two files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from nova_hyper.daemon.image.atomic import write_whole
from nova_hyper.daemon.image.reference import familiar_names, id_prefix
from nova_hyper.spec.codec import decode, encode
from nova_hyper.spec.errors import HyperError, ImageNotFound
from nova_hyper.spec.image import Image

_VERSION = 1


@dataclasses.dataclass
class Index:
    """The images of a store.

    ``images`` have no names in them: ``names`` maps each name to an image's
    id.  ``chains`` maps an id to the diff IDs of its configuration, which are not
    the layers to mount: those leave out what has no effect.  ``kept`` are ids
    imported without a name, which stay without one.  ``blobs`` maps digests of
    compressed layers to diff IDs.  ``leases`` maps an owner to the ids it needs.
    """

    images: dict[str, Image] = dataclasses.field(default_factory=dict)
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    kept: set[str] = dataclasses.field(default_factory=set)
    blobs: dict[str, str] = dataclasses.field(default_factory=dict)
    leases: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    def copy(self) -> Index:
        """Return an index that changes by itself."""
        return Index(
            images=dict(self.images),
            names=dict(self.names),
            chains=dict(self.chains),
            kept=set(self.kept),
            blobs=dict(self.blobs),
            leases={owner: set(ids) for owner, ids in self.leases.items()},
        )

    def names_of(self, image_id: str) -> tuple[str, ...]:
        """Return the names of an image, sorted."""
        return tuple(sorted(name for name, other in self.names.items() if other == image_id))

    def owners_of(self, image_id: str) -> list[str]:
        """Return who has a lease on an image, sorted."""
        return sorted(owner for owner, ids in self.leases.items() if image_id in ids)

    def leased(self) -> set[str]:
        """Return the ids of the images that somebody has a lease on."""
        return set().union(*self.leases.values())

    def resolve(self, ref: str) -> str:
        """Return the id of the image with this name, id or unique beginning of an id.

        :raises ImageNotFound: when there is none, or several begin like that.
        """
        for name in familiar_names(ref):
            if name in self.names:
                return self.names[name]
        prefix = id_prefix(ref)
        found = [i for i in self.images if i.startswith(prefix)] if prefix else []
        if len(found) > 1:
            raise ImageNotFound(
                f"several images have an id that begins with {ref}; give more of it"
            )
        if not found:
            raise not_found(ref)
        return found[0]

    def layers(self) -> set[str]:
        """Return the diff IDs that images refer to."""
        return set().union(*(self.layers_of(image_id) for image_id in self.images))

    def layers_of(self, image_id: str) -> set[str]:
        """Return the diff IDs of an image's layers: those mounted, and those it is saved from."""
        mounted = {layer.diff_id for layer in self.images[image_id].layers}
        return mounted.union(self.chains.get(image_id, ()))


def not_found(ref: str) -> ImageNotFound:
    """Return the error that there is no such image."""
    return ImageNotFound(
        f"there is no image {ref[:200]} on this host; import it first (hyperctl load ARCHIVE, "
        "hyperctl pull REFERENCE), or see what there is (hyperctl images)"
    )


class IndexFiles:
    """``images.json`` and ``leases.json`` in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._images = directory / "images.json"
        self._leases = directory / "leases.json"

    def load(self) -> Index:
        """Return the index as last saved, an empty one at first.

        :raises HyperError: when a file cannot be read as what it should be.
        """
        images = self._read(self._images)
        leases = self._read(self._leases)
        try:
            return Index(
                images={key: decode(Image, v) for key, v in images.get("images", {}).items()},
                names=dict(images.get("names", {})),
                chains={key: tuple(v) for key, v in images.get("chains", {}).items()},
                kept=set(images.get("kept", [])),
                blobs=dict(images.get("blobs", {})),
                leases={key: set(v) for key, v in leases.get("leases", {}).items()},
            )
        except (ValueError, TypeError, AttributeError) as exc:
            raise self._damaged(self._images, exc) from None

    def save_images(self, index: Index, temporary: Path) -> None:
        """Save all but the leases."""
        data = {
            "images": {key: encode(image) for key, image in index.images.items()},
            "names": index.names,
            "chains": index.chains,
            "kept": sorted(index.kept),
            "blobs": index.blobs,
        }
        self._write(self._images, data, temporary)

    def save_leases(self, index: Index, temporary: Path) -> None:
        """Save the leases."""
        data = {"leases": {owner: sorted(ids) for owner, ids in index.leases.items()}}
        self._write(self._leases, data, temporary)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise self._damaged(path, exc) from None
        if not isinstance(data, dict) or data.get("version") != _VERSION:
            raise self._damaged(path, "it is of another version")
        return data

    def _write(self, path: Path, data: dict[str, Any], temporary: Path) -> None:
        raw = json.dumps({"version": _VERSION, **data}, indent=1, sort_keys=True)
        write_whole(path, raw.encode(), temporary)

    def _damaged(self, path: Path, reason: object) -> HyperError:
        return HyperError(
            f"{path} cannot be read ({reason}); move {path.parent} away "
            "and import the images again"
        )
