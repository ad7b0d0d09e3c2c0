"""The benchmark's figures as a table and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import prettytable

LIBVIRT_STAGE = "domain"


@dataclasses.dataclass(frozen=True)
class Figure:
    """Runs of one measurement; *unit* is ``s`` or ``MiB``."""

    name: str
    unit: str
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def as_json(self) -> dict[str, Any]:
        """Return the figure with its median and its spread."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.runs),
            "max": max(self.runs),
            "runs": list(self.runs),
        }


def table(figures: Sequence[Figure], floor: float) -> str:
    """Return the figures as a table; times also as a multiple of the *floor* in seconds."""
    drawn = prettytable.PrettyTable(["", "median", "min", "max", "of the floor"])
    drawn.align = "r"
    drawn.align[""] = "l"
    for figure in figures:
        values = [
            _value(v, figure.unit) for v in (figure.median, min(figure.runs), max(figure.runs))
        ]
        ratio = f"{figure.median / floor:.2f}" if figure.unit == "s" else ""
        drawn.add_row([figure.name, *values, ratio])
    return drawn.get_string()


def _value(value: float, unit: str) -> str:
    return f"{value * 1000:.0f} ms" if unit == "s" else f"{value:.1f} {unit}"
