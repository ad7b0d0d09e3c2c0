"""What the images of a store take on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from nova_hyper.daemon.image.index import Index
from nova_hyper.spec.usage import DiskUsage, ImageUsage


def usage_of(index: Index, sizes: Mapping[str, int], temporary: int) -> DiskUsage:
    """Return the use of disk of *index*, without pods.

    :param sizes: bytes of each layer, by diff ID, with all that is kept of it.
    :param temporary: bytes of imports under way.
    """
    layers = {image_id: index.layers_of(image_id) for image_id in index.images}
    users = Counter(layer for of_one in layers.values() for layer in of_one)
    leased = index.leased()
    needed = set().union(*(layers[image_id] for image_id in leased if image_id in layers))
    images = [
        ImageUsage(
            id=image_id,
            names=index.names_of(image_id),
            size=sum(sizes.get(layer, 0) for layer in of_one),
            unique=sum(sizes.get(layer, 0) for layer in of_one if users[layer] == 1),
            pods=len(index.owners_of(image_id)),
        )
        for image_id, of_one in layers.items()
    ]
    total = sum(sizes.values())
    return DiskUsage(
        images=tuple(sorted(images, key=lambda image: (not image.names, image.names, image.id))),
        pods=(),
        layers=len(sizes),
        layer_bytes=total,
        reclaimable=total - sum(sizes.get(layer, 0) for layer in needed),
        temporary=temporary,
    )
