"""Which image the documents of a registry are, and of which blobs it consists.

Computed from documents only, in the process that reads images: they are as
hostile as archives.  That process reaches no registry, so it says which document
it needs next, and is asked again when that is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nova_hyper.daemon.image import manifest
from nova_hyper.daemon.image.archive import FoundImage
from nova_hyper.daemon.image.digest import is_digest
from nova_hyper.daemon.image.document import parse_json
from nova_hyper.spec.errors import ImageInvalid


@dataclasses.dataclass(frozen=True)
class Blob:
    """A layer as a manifest describes it: ``sha256:<hex>`` and its bytes in the registry."""

    digest: str
    size: int


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far some documents lead.

    Either ``image`` is there, with one of ``layers`` for each diff ID, bottom
    first; or ``needed`` is the digest of a document that is missing, which is
    among the manifests or among the blobs.
    """

    image: FoundImage | None = None
    layers: tuple[Blob, ...] = ()
    needed: str = ""
    is_manifest: bool = False


class _Missing(Exception):
    """A document is needed that is not there: its digest."""


def resolve_pulled(documents: Mapping[str, bytes], top: str, arch: str) -> Progress:
    """Return how far *documents*, by digest, lead from the one of the digest *top*.

    :raises ImageInvalid: when something does not fit together.
    :raises ImageUnsuitable: when there are images for other platforms only.
    """
    listed = _manifests_in(documents[top])
    index = documents[top] if listed else manifest.index_of(top, documents[top])

    def lookup(digest: str) -> bytes:
        if digest not in documents:
            raise _Missing(digest)
        return documents[digest]

    try:
        candidates = manifest.oci_candidates(index, lookup, arch)
    except _Missing as exc:
        needed = str(exc)
        manifests = listed.union(*(_manifests_in(raw) for raw in documents.values()))
        return Progress(needed=needed, is_manifest=needed in manifests)
    chosen = manifest.choose(candidates, arch, None)
    layers = tuple(map(_blob, chosen.layers, chosen.sizes))
    if len(layers) != len(chosen.config.diff_ids):
        raise ImageInvalid("the manifest and the configuration have different layers")
    if len({layer.digest for layer in layers}) != len(set(layers)):
        raise ImageInvalid("the manifest gives a layer two different sizes")
    document = documents[chosen.config_id].decode("latin-1")
    return Progress(FoundImage(chosen.config_id, (), chosen.config, document), layers)


def _manifests_in(raw: bytes) -> set[str]:
    """Return the digests of the manifests that a document lists, none where it is no index."""
    data = parse_json(raw, "what the registry sent")
    if not isinstance(data, dict) or not isinstance(data.get("manifests"), list):
        return set()
    found = (item.get("digest") for item in data["manifests"] if isinstance(item, dict))
    return {digest for digest in found if isinstance(digest, str)}


def _blob(digest: str, size: int | None) -> Blob:
    if not is_digest(digest):
        raise ImageInvalid("a layer of the manifest has no sha256 digest")
    if size is None:
        raise ImageInvalid("a layer of the manifest has no size")
    return Blob(digest, size)
