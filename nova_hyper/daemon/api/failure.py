"""What a client hears of a call that failed, and what the log does."""

from __future__ import annotations

import logging

from nova_hyper.spec.errors import HyperError

LOG = logging.getLogger(__name__)


def told(exc: Exception, call: str) -> HyperError:
    """Return what the client of *call* is told of *exc*; what is our own fault is logged.

    It is called where *exc* is handled.
    """
    if isinstance(exc, HyperError):
        if exc.status >= 500:
            LOG.error("%s: %s", call, exc.message)
        return exc
    LOG.exception("%s failed", call)
    return HyperError("hyperd failed in a way nobody foresaw; its log has the details")
