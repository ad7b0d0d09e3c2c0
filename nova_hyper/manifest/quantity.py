"""Quantities as Kubernetes writes them: ``500m``, ``1.5Gi``, ``1e3``.

Source: Kubernetes, resource.Quantity ("Resource Management for Pods and Containers").
"""

from __future__ import annotations

import decimal
import re

_SUFFIXES = {
    "n": decimal.Decimal("1e-9"),
    "u": decimal.Decimal("1e-6"),
    "m": decimal.Decimal("1e-3"),
    "": decimal.Decimal(1),
    **{s: decimal.Decimal(10) ** (3 * i) for i, s in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{
        s: decimal.Decimal(1024) ** i
        for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
    },
}
_QUANTITY = re.compile(
    r"\+?(?P<number>\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})"
    r"(?P<suffix>[eE][-+]?\d{1,2}|[EPTGM]i?|Ki|[kmnu]|)"
)


def parse(value: str | int | float, scale: int = 1) -> int:
    """Return *value* times *scale*, rounded up as Kubernetes does.

    :raises ValueError: when it is no quantity, or not above 0.
    """
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError("must be a quantity such as 500m, 64Mi or 1.5Gi")
    number, suffix = decimal.Decimal(match["number"]), match["suffix"]
    if suffix[:1] in ("e", "E") and suffix[1:] not in ("", "i"):
        number *= decimal.Decimal(10) ** int(suffix[1:])
    else:
        number *= _SUFFIXES[suffix]
    amount = int((number * scale).to_integral_value(decimal.ROUND_CEILING))
    if amount <= 0:
        raise ValueError("must be more than 0")
    return amount
