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


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return *text* with its references replaced, once: what comes in is not expanded again.

    :raises ValueError: when the result has more than :data:`MAX_LENGTH` characters.
    """
    length = len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal length
        found = "$" if match[1] == "$" else variables.get(match[2], match[0])
        length += len(found) - len(match[0])
        if length > MAX_LENGTH:
            raise ValueError(f"expands to more than {MAX_LENGTH} characters")
        return found

    return _REFERENCE.sub(value, text)
