"""What a registry wants to know first: the WWW-Authenticate header (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*,?\s*({_WORD})(?:\s+|$|(?=,))")
_MAX = 8192


def parse(header: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each scheme, both in lower case; what is malformed ends it."""
    found: dict[str, dict[str, str]] = {}
    header = header[:_MAX]
    at = 0
    while match := _SCHEME.match(header, at):
        at = match.end()
        parameters = found.setdefault(match[1].lower(), {})
        while parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            value = parameter[3] or re.sub(r"\\(.)", r"\1", parameter[2] or "")
            parameters[parameter[1].lower()] = value
    return found
