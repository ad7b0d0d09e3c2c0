"""How often one guest may put something into the host's log of events, or be looked at."""

from __future__ import annotations

_BURST = 32.0
_PER_SECOND = 0.2


class Pace:
    """A token bucket: a guest whose containers restart all the time must not push others out."""

    def __init__(self) -> None:
        self._left = _BURST
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Tell whether one more is fine at *now* (monotonic seconds), and count it."""
        self._left = min(_BURST, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
