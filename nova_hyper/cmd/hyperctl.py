"""``hyperctl``: pods and images of this host, from the command line."""

from __future__ import annotations

import argparse
import os
import sys

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import (
    commit,
    completion,
    copy,
    events,
    execute,
    guest,
    host,
    images,
    lifecycle,
    listing,
    logs,
    output,
    power,
    rescue,
    run,
    usage,
)
from nova_hyper.spec.errors import HyperError

_SOCKET = "/run/hyperd/hyperd.sock"
_CONNECT_S = 5.0
_REQUEST_S = 600.0
# In the order in which the help lists their verbs.
_FAMILIES = (
    *(run, listing, logs, execute, copy, usage, lifecycle, power, rescue),
    *(images, commit, events, host, guest, completion),
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = argparse.ArgumentParser(
        prog="hyperctl",
        description="Run Docker images as micro-VMs on this host, through hyperd.",
        epilog="Build the guest once ('hyperctl guest build'), start hyperd, then: "
        "hyperctl run image.tar. Every verb explains itself, with examples: hyperctl VERB --help",
    )
    top.add_argument(
        "--socket",
        default=os.environ.get("HYPERD_SOCKET", _SOCKET),
        help="hyperd's socket (default: %(default)s, or $HYPERD_SOCKET)",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-o",
        "--output",
        choices=output.FORMATS,
        default="table",
        help="a table for people (default), json or yaml for programs",
    )

    class _Parser(argparse.ArgumentParser):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(parents=[common], **kwargs)  # type: ignore[arg-type]

    verbs = top.add_subparsers(required=True, metavar="VERB", parser_class=_Parser)
    for family in _FAMILIES:
        family.add(verbs)
    return top


def main() -> None:
    """Run one verb; exit 1 with one sentence when it fails, 2 when it is misused."""
    verbs = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks, by the script of 'hyperctl completion'
        import argcomplete

        argcomplete.autocomplete(verbs)
    args = verbs.parse_args()
    client = HyperClient(args.socket, _REQUEST_S, _CONNECT_S)
    try:
        code = args.run(client, args)
    except HyperError as exc:
        code = _fail(exc.message)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as exc:
        code = _fail(f"{exc.filename or ''}: {exc.strerror or exc}".removeprefix(": "))
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _fail(message: str) -> int:
    print(f"hyperctl: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
