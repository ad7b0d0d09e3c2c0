"""Which layers a host attaches to show an image: those that matter, and not too many."""

from __future__ import annotations

from collections import deque

from nova_hyper.daemon.image.import_session import ImportSession
from nova_hyper.daemon.image.layer_store import LayerFacts, LayerStore
from nova_hyper.spec.errors import HyperError, ImageInvalid
from nova_hyper.spec.image import Layer


def assemble(
    diff_ids: tuple[str, ...], layers: LayerStore, session: ImportSession, most: int
) -> tuple[Layer, ...]:
    """Return the layers to mount for an image, bottom first, at most *most*.

    :param diff_ids: those of its configuration, all here.
    :raises ImageInvalid: when the layers do not fit together, or have nothing in them.
    """
    found: deque[str] = deque()
    for diff_id in reversed(diff_ids):
        facts = layers.facts(diff_id)
        # Of a repeated layer only the topmost has an effect; an empty one has none.
        if facts and facts.entries and diff_id not in found:
            found.appendleft(diff_id)
        if facts and facts.opaque:
            # overlayfs has no opaque roots.
            break
    mounted = _few(tuple(found), layers, session, most)
    if len(mounted) > 1 and any(_facts(layers, d).implied for d in mounted):
        made = session.complete(mounted)
        if made:
            mounted = (*mounted, made)
    if not mounted:
        raise ImageInvalid("the image is empty: none of its layers has a file")
    return tuple(
        Layer(diff_id, facts.size, facts.unpacked_size)
        for diff_id, facts in ((d, _facts(layers, d)) for d in mounted)
    )


def _few(
    diff_ids: tuple[str, ...], layers: LayerStore, session: ImportSession, most: int
) -> tuple[str, ...]:
    """Return *diff_ids*, the bottom ones merged where they are more than this host attaches.

    What is merged depends on nothing but the layers: hosts need equal disks for a live
    migration.
    """
    # One more may come on top, for the directories.
    room = most - any(_facts(layers, d).implied for d in diff_ids)
    excess = len(diff_ids) - max(1, room)
    if excess <= 0:
        return diff_ids
    merged = session.merge(diff_ids[: excess + 1])
    rest = diff_ids[excess + 1 :]
    return (merged, *rest) if _facts(layers, merged).entries else rest


def _facts(layers: LayerStore, diff_id: str) -> LayerFacts:
    facts = layers.facts(diff_id)
    if facts is None:
        raise HyperError(
            f"the file {layers.path(diff_id)} of a layer vanished; import the image again"
        )
    return facts
