"""``hyperctl commit``: an image of what a container has written."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import verbs
from nova_hyper.cmd.ctl.transfer import shown


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    commit = verbs.add(
        parser,
        "commit",
        "make an image of what a container has written",
        _commit,
        description="Make an image of a container: its own image, and one more layer with all "
        "that it has written, but for its volumes. A running container stands still meanwhile. "
        "A stopped pod must have a disk (--root): what it wrote in memory has ended with it.",
        examples=(
            "hyperctl commit web web:patched",
            "hyperctl commit --container db --no-freeze shop shop-db:2",
            """hyperctl commit --change 'CMD ["httpd", "-f"]' --change 'ENV DEBUG=1' web web:2""",
        ),
    )
    verbs.add_pod(commit)
    commit.add_argument("name", nargs="?", help="of the image (default: none, only its id)")
    verbs.add_container(commit)
    commit.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="INSTRUCTION",
        help="a Dockerfile's CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or "
        "WORKDIR",
    )
    commit.add_argument(
        "--no-freeze",
        action="store_true",
        help="let the container run on: its files may change while they are read",
    )


def _commit(client: HyperClient, args: argparse.Namespace) -> int:
    image = client.commit(
        args.pod,
        args.name,
        container=args.container,
        changes=args.change,
        freeze=not args.no_freeze,
    )
    return shown(image, args)
