"""``hyperctl completion``: what makes a shell complete verbs, options and the names of pods."""

from __future__ import annotations

import argparse

from nova_hyper.client import HyperClient
from nova_hyper.cmd.ctl import verbs

_SHELLS = ("bash", "zsh", "fish")


def add(parser: verbs.Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the parser."""
    command = verbs.add(
        parser,
        "completion",
        "print the script that makes a shell complete hyperctl",
        _completion,
        description="Print a script for the shell to read. It completes verbs, options, and the "
        "names of pods and images, which it asks hyperd for.",
        examples=(
            "hyperctl completion bash >/etc/bash_completion.d/hyperctl",
            "hyperctl completion zsh >/usr/local/share/zsh/site-functions/_hyperctl",
            "hyperctl completion fish >~/.config/fish/completions/hyperctl.fish",
        ),
    )
    command.add_argument("shell", choices=_SHELLS)


def _completion(_client: HyperClient, args: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["hyperctl"], shell=args.shell))
    return 0
