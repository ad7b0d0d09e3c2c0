"""Times of heartbeats, as Nova's and Neutron's APIs give them."""

from __future__ import annotations

import datetime


def heartbeat(text: str | None) -> datetime.datetime:
    """Return the UTC time that an API gives without saying its zone; long ago for none."""
    if not text:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
