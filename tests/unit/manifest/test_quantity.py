from __future__ import annotations

import pytest

from nova_hyper.manifest import quantity


@pytest.mark.parametrize(
    ("text", "scale", "amount"),
    [
        ("64Mi", 1, 64 << 20),
        ("1.5Gi", 1, 3 << 29),
        ("1Ki", 1, 1024),
        ("1k", 1, 1000),
        ("128974848", 1, 128974848),
        ("129e6", 1, 129_000_000),
        ("1E", 1, 10**18),
        ("1Ei", 1, 1 << 60),
        ("128974848000m", 1, 128974848),
        ("500m", 1000, 500),
        ("2", 1000, 2000),
        (0.5, 1000, 500),
        (1, 1000, 1000),
        (".1", 1000, 100),
        ("1u", 1000, 1),
    ],
)
def test_quantities_are_those_of_kubernetes(text, scale, amount):
    assert quantity.parse(text, scale) == amount


@pytest.mark.parametrize("text", ["", "64MB", "1ki", "x", "-1", "1 Mi", "0x10", "1e999", "1" * 30])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="must be a quantity"):
        quantity.parse(text)


def test_nothing_is_no_amount():
    with pytest.raises(ValueError, match="more than 0"):
        quantity.parse("0")
