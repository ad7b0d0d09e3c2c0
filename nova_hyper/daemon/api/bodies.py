"""The specification's types out of bodies that fit the document."""

from __future__ import annotations

from typing import Any, TypeVar

from nova_hyper.spec import codec
from nova_hyper.spec.errors import InvalidRequest
from nova_hyper.spec.nic import Dns, Nic

T = TypeVar("T")


def decode(cls: type[T], body: Any) -> T:
    """Return the *cls* of a body that fits the document, which leaves room: 1.0 is an integer.

    :raises InvalidRequest: when it does not fit the type.
    """
    try:
        return codec.decode(cls, body)
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from None


def network(body: dict[str, Any]) -> tuple[tuple[Nic, ...] | None, Dns | None]:
    """Return the interfaces and the resolver in *body*, None for what it does not have.

    :raises InvalidRequest: when they do not fit their types.
    """
    nics = tuple(decode(Nic, nic) for nic in body["nics"]) if "nics" in body else None
    return nics, decode(Dns, body["dns"]) if "dns" in body else None
