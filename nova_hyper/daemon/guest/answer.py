"""What an agent answers: the fields, or why it refused.

A sentence of an agent reaches users and logs: it is one line of printable text.
"""

from __future__ import annotations

from typing import Any

from nova_hyper.daemon.ports import AgentError

_CODES = frozenset(("unknown_op", "invalid", "state", "disk", "network", "exec", "internal"))
_MAX_MESSAGE = 1024


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an answer, without its ``ok``.

    :raises AgentError: when the agent refused.
    """
    if body.get("ok") is True:
        return {key: value for key, value in body.items() if key != "ok"}
    error = body.get("error")
    if not isinstance(error, dict):
        error = {}
    code, message = error.get("code"), error.get("message")
    raise AgentError(
        code if isinstance(code, str) and code in _CODES else "internal",
        sentence(message) or "the agent gave no reason",
    )


def sentence(text: object) -> str:
    """Return *text* as one bounded line, empty when there is none."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_MESSAGE]).strip()
