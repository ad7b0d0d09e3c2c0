"""``hyperctl exec`` and ``attach``."""

from __future__ import annotations

import argparse
import sys

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import output, terminal, verbs
from nova_hyper.spec.errors import HyperError, InvalidRequest

# As docker and podman: what the command itself can hardly mean.
_NOT_RUN = 125


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verbs to the parser."""
    run = verbs.add(
        parser,
        "exec",
        "run a command in a container",
        _exec,
        description="Run a command beside the process of a container, with its files, namespaces "
        "and limits. The exit code is the command's, or 125 when it could not be run. When "
        "hyperctl ends, so does the command.",
        examples=(
            "hyperctl exec -it web sh",
            "hyperctl exec web cat /etc/resolv.conf",
            "hyperctl exec -i web sh -c 'cat >/tmp/x' <x",
            "hyperctl exec -u www-data -w /srv -e DEBUG=1 -c php web ./task",
        ),
    )
    run.add_argument("-i", "--interactive", action="store_true", help="send our standard input")
    run.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    run.add_argument("-e", "--env", action="append", default=[], metavar="KEY[=VALUE]")
    run.add_argument("-u", "--user", help="user[:group], names or numbers of the image")
    run.add_argument("-w", "--workdir", metavar="DIRECTORY")
    verbs.add_container(run)
    verbs.add_pod(run)
    run.add_argument("command", nargs=argparse.REMAINDER, help="and its arguments")

    attach = verbs.add(
        parser,
        "attach",
        "join the output of a container, and its input",
        _attach,
        description="Show what a container prints from now on, and send it our standard input "
        "where the pod was made with one. Ends with the container, with its exit code; hyperctl's "
        "own end, or Ctrl-P Ctrl-Q on a terminal, leaves it running.",
        examples=("hyperctl attach web", "hyperctl attach --no-stdin -c sidecar web"),
    )
    attach.add_argument("--no-stdin", action="store_true", help="send nothing")
    verbs.add_container(attach)
    verbs.add_pod(attach)


def _exec(client: HyperClient, args: argparse.Namespace) -> int:
    argv = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not argv:
        args.misused("say what to run after the pod")
    try:
        if args.tty and args.interactive and not sys.stdin.isatty():
            raise InvalidRequest("-t needs a terminal, and standard input is none; use -i only")
        session = client.exec(
            args.pod,
            argv,
            container=args.container,
            env=[*_environment(args.tty), *verbs.environment(args.env)],
            user=args.user,
            working_dir=args.workdir,
            terminal=terminal.size() if args.tty else None,
            stdin=args.interactive,
        )
        terminal.join(session, stdin=args.interactive, raw=args.tty)
    except HyperError as exc:
        output.progress(f"hyperctl: {exc.message}")
        return _NOT_RUN
    return _NOT_RUN if session.exit_code is None else session.exit_code


def _environment(tty: bool) -> list[str]:
    """Return what a program with a terminal needs to know of it."""
    return ["TERM=xterm"] if tty else []


def _attach(client: HyperClient, args: argparse.Namespace) -> int:
    pod = client.pod(args.pod)
    name = args.container or pod.spec.containers[0].name
    made = next((c for c in pod.spec.containers if c.name == name), None)
    stdin = made is not None and made.stdin and not args.no_stdin
    raw = made is not None and made.tty and stdin and sys.stdin.isatty()
    session = client.attach(pod.spec.id, args.container, stdin)
    if raw:
        session.resize(terminal.size())
    ended = terminal.join(session, stdin=stdin, raw=raw, detach=terminal.DETACH if raw else b"")
    if not ended:
        output.progress("hyperctl: detached; the container goes on")
        return 0
    return session.exit_code or 0
