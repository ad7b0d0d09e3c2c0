"""``$(VAR)`` in commands, arguments and values of variables.

Source: Kubernetes, "Define Dependent Environment Variables": ``$$(VAR)`` is a
literal ``$(VAR)``, and a reference to a variable that is not there stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")

MAX_LENGTH = 128 * 1024
"""Of what comes out: Linux's MAX_ARG_STRLEN.  Variables of variables could be without end."""
MAX_TOTAL = 512 * 1024


class Expansion:
    """The expansions of one container, which together have at most :data:`MAX_TOTAL` characters.

    Thousands of references to one long variable would take gigabytes otherwise.
    """

    def __init__(self) -> None:
        self._left = MAX_TOTAL

    def expand(self, text: str, variables: Mapping[str, str]) -> str:
        """Return *text* with its references replaced, once: what comes in is not expanded again.

        :raises ValueError: when the result is too long, or all results together are.
        """
        length = len(text)

        def value(match: re.Match[str]) -> str:
            nonlocal length
            found = "$" if match[1] == "$" else variables.get(match[2], match[0])
            length += len(found) - len(match[0])
            self._check(length)
            return found

        expanded = _REFERENCE.sub(value, text)
        self._check(length)
        self._left -= length
        return expanded

    def _check(self, length: int) -> None:
        if length > MAX_LENGTH:
            raise ValueError(f"expands to more than {MAX_LENGTH} characters")
        if length > self._left:
            raise ValueError(
                f"expands, with what is before it, to more than {MAX_TOTAL} characters"
            )
