"""How verbs are declared and carried out: help that teaches, one error for each thing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output
from nova_hyper.spec.errors import HyperError

Verbs = argparse._SubParsersAction
Run = Callable[[HyperClient, argparse.Namespace], int]
Names = Callable[[HyperClient], Iterable[str]]

_COMPLETION_S = 2.0
_REF_HELP = "id, beginning of an id, or name"


def add(
    verbs: Verbs[argparse.ArgumentParser],
    name: str,
    summary: str,
    run: Run,
    *,
    description: str = "",
    examples: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a verb: *summary* is its line in the list of all, *description* what it does.

    What it parses has ``misused``, which ends with a sentence, the usage and exit code 2.
    """
    lines = "".join(f"\n  {example}" for example in examples)
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=description or f"{summary[:1].upper()}{summary[1:]}.",
        epilog=f"examples:{lines}" if examples else None,
        formatter_class=_Help,
    )
    parser.set_defaults(run=run, misused=parser.error)
    return parser


class _Help(argparse.HelpFormatter):
    """Descriptions are filled, examples are left as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


def add_pod(parser: argparse.ArgumentParser) -> None:
    """Take one pod."""
    completed(parser.add_argument("pod", help=_REF_HELP), pod_names)


def add_pods(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Take several pods."""
    completed(parser.add_argument("pod", nargs=nargs, help=_REF_HELP), pod_names)


def add_image(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Take one image, or as many as *nargs* says."""
    completed(parser.add_argument("image", nargs=nargs, help=_REF_HELP), image_names)


def add_container(parser: argparse.ArgumentParser, without: str = "the pod's first one") -> None:
    """Take the name of one container."""
    parser.add_argument(
        "-c", "--container", metavar="NAME", help=f"of the pod's containers (default: {without})"
    )


def completed(action: argparse.Action, names: Names) -> None:
    """Have a shell complete an argument with *names*."""

    def complete(parsed_args: argparse.Namespace, **_kwargs: object) -> list[str]:
        try:
            client = HyperClient(parsed_args.socket, _COMPLETION_S, 0.0)
            return sorted(names(client))
        except HyperError:
            return []

    action.completer = complete  # type: ignore[attr-defined]


def pod_names(client: HyperClient) -> list[str]:
    """Return the names of all pods."""
    return [pod.spec.name for pod in client.pods()]


def image_names(client: HyperClient) -> list[str]:
    """Return the names of all images."""
    return [name for image in client.images() for name in image.names]


def each(
    refs: Iterable[str], do: Callable[[str], object], args: argparse.Namespace, what: str = "pod"
) -> int:
    """Do something with each of *refs*, whatever becomes of the others; return the exit code.

    What was done is printed: in a table at once, else as a list at the end.
    """
    done, failed = [], 0
    for ref in refs:
        try:
            do(ref)
        except HyperError as exc:
            said = exc.message if ref in exc.message else f"{what} {ref}: {exc.message}"
            output.progress(f"hyperctl: {said}")
            failed = 1
            continue
        done.append(ref)
        if args.output == "table":
            print(ref, flush=True)
    if args.output != "table":
        output.show(done, args.output)
    return failed


def environment(given: Iterable[str]) -> list[str]:
    """Return the variables of ``-e``: a name alone is our own variable, where we have it."""
    found = []
    for item in given:
        if "=" in item:
            found.append(item)
        elif item in os.environ:
            found.append(f"{item}={os.environ[item]}")
    return found
