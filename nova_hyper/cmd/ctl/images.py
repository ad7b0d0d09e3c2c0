"""``hyperctl images``, ``rmi``, ``tag``, ``image inspect``, ``image prune`` and ``system df``."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, transfer, verbs
from nova_hyper.spec import codec


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    transfer.add(parser)
    verbs.add(parser, "images", "list the images of this host", _images)
    rmi = verbs.add(
        parser,
        "rmi",
        "remove images",
        _rmi,
        description="Remove images. Of an image with several names only the given one goes; the "
        "last name takes the image with it, and the layers that no other image has.",
        examples=("hyperctl rmi web:1", "hyperctl rmi c824d5c5e8eb"),
    )
    verbs.add_image(rmi, "+")
    tag = verbs.add(
        parser,
        "tag",
        "give an image one more name",
        _tag,
        examples=("hyperctl tag web:1 registry.example.org/web:1",),
    )
    verbs.add_image(tag)
    tag.add_argument("name", help="another image that has it loses it")
    image = parser.add_parser("image", help="show images in full, and remove those of no use")
    nouns = image.add_subparsers(required=True, metavar="VERB")
    inspect = verbs.add(
        nouns,
        "inspect",
        "show all that is known of images",
        _inspect,
        examples=("hyperctl image inspect -o json web:1",),
    )
    verbs.add_image(inspect, "+")
    prune = verbs.add(
        nouns,
        "prune",
        "remove images that no pod needs",
        _prune,
        description="Remove the images that have no name and that no pod needs.",
        examples=("hyperctl image prune", "hyperctl image prune --all"),
    )
    prune.add_argument(
        "-a", "--all", action="store_true", help="all that no pod needs, also with a name"
    )
    system = parser.add_parser("system", help="what hyperd itself takes")
    nouns = system.add_subparsers(required=True, metavar="VERB")
    verbs.add(
        nouns,
        "df",
        "show what images and pods take on disk",
        _df,
        description="Show what images and pods take on disk. Layers that several images have are "
        "counted in SIZE of each, and in UNIQUE of none.",
    )


def _images(client: HyperClient, args: argparse.Namespace) -> int:
    images = client.images()
    if args.output != "table":
        output.show(codec.encode(images), args.output)
        return 0
    output.table(
        ("IMAGE ID", "NAMES", "LAYERS", "ON DISK", "UNPACKED", "CREATED"),
        [
            (
                output.short(i.id),
                output.names(i.names),
                len(i.layers),
                output.size(i.size),
                output.size(i.unpacked_size),
                i.created[:19],
            )
            for i in images
        ],
    )
    return 0


def _rmi(client: HyperClient, args: argparse.Namespace) -> int:
    return verbs.each(args.image, client.delete_image, args, "image")


def _tag(client: HyperClient, args: argparse.Namespace) -> int:
    image = client.tag_image(args.image, args.name)
    if args.output != "table":
        output.show(codec.encode(image), args.output)
    return 0


def _prune(client: HyperClient, args: argparse.Namespace) -> int:
    pruned = client.prune_images(args.all)
    if args.output != "table":
        output.show(codec.encode(pruned), args.output)
        return 0
    for removed in (*pruned.names, *(i for i in pruned.images if not pruned.names)):
        print(removed)
    output.progress(f"{len(pruned.images)} images removed, {output.size(pruned.bytes)} freed")
    return 0


def _inspect(client: HyperClient, args: argparse.Namespace) -> int:
    images = [codec.encode(client.image(ref)) for ref in args.image]
    output.show(images, "yaml" if args.output == "table" else args.output)
    return 0


def _df(client: HyperClient, args: argparse.Namespace) -> int:
    usage = client.disk_usage()
    if args.output != "table":
        output.show(codec.encode(usage), args.output)
        return 0
    used = sum(1 for image in usage.images if image.pods)
    pods = sum(pod.size for pod in usage.pods)
    output.table(
        ("WHAT", "COUNT", "IN USE", "SIZE", "RECLAIMABLE"),
        [
            ("images", len(usage.images), used, "", ""),
            (
                *("layers", usage.layers, ""),
                output.size(usage.layer_bytes),
                output.size(usage.reclaimable),
            ),
            ("pods", len(usage.pods), "", output.size(pods), ""),
            ("imports under way", "", "", output.size(usage.temporary), ""),
        ],
    )
    print()
    output.table(
        ("IMAGE ID", "NAMES", "SIZE", "UNIQUE", "PODS"),
        [
            (
                *(output.short(i.id), output.names(i.names)),
                *(output.size(i.size), output.size(i.unique), i.pods),
            )
            for i in usage.images
        ],
    )
    print()
    output.table(
        ("POD", "SIZE", "MAY GROW TO"),
        [(p.name, output.size(p.size), output.size(p.limit)) for p in usage.pods],
    )
    return 0
