"""How much a guest may make the daemon read."""

from __future__ import annotations

_BYTES = 4096


class Budget:
    """A token bucket: a frame costs one token and another for each 4 KiB.

    An honest agent never comes near it.  A guest that floods its port is read
    more slowly, which holds up nobody but itself.
    """

    def __init__(self, now: float, burst: float = 256.0, per_second: float = 200.0) -> None:
        """Begin with *burst* tokens at *now* (monotonic seconds)."""
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._at = now

    def spend(self, size: int, now: float) -> None:
        """Take what a frame of *size* bytes costs, at *now* (monotonic seconds)."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        self._tokens -= 1 + size / _BYTES

    def pause(self) -> float:
        """Return the seconds to wait before more is read; 0 when there is something left."""
        return max(0.0, -self._tokens / self._per_second)
