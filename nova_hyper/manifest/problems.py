"""What is wrong with a manifest, each with its place in the document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from nova_hyper.spec.errors import InvalidRequest

_SHOWN = 8
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class ManifestInvalid(InvalidRequest):
    """The manifest cannot be used; ``problems`` has a sentence for each place that is wrong.

    Made of those, or of a whole message as errors that came over the border are.
    """

    code = "manifest_invalid"

    def __init__(self, problems: str | Iterable[str], **details: Any) -> None:
        if isinstance(problems, str):
            super().__init__(problems, **details)
            self.problems: tuple[str, ...] = (problems,)
            return
        self.problems = tuple(dict.fromkeys(problems))
        shown = self.problems[:_SHOWN]
        more = len(self.problems) - len(shown)
        text = "; ".join(shown) + (f"; and {more} more" if more else "")
        super().__init__(f"the Pod manifest cannot be used: {text}", **details)


class Problems:
    """Collects problems, so that a user hears of all of them at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def add(self, path: str, sentence: str) -> None:
        """Say that what is at *path* ``sentence`` (``must be ...``, ``is ...``)."""
        self._found.append(f"{path} {sentence}")

    def check(self) -> None:
        """Raise when there are any.

        :raises ManifestInvalid: with all of them.
        """
        if self._found:
            raise ManifestInvalid(self._found)


def path_of(parts: Iterable[str | int], root: str = "") -> str:
    """Return the path of *parts* as people write it: ``spec.containers[0].name``."""
    path = root
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            path += f".{part}" if path and not path.endswith(": ") else part
        else:
            path += f'["{part[:100]}"]'
    return path
