from __future__ import annotations

import pytest

from nova_hyper.manifest.expansion import Expansion


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "x"),
        ("$(A)-$(A)", "x-x"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$x"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("$$", "$"),
        ("$(B)", "$(A)"),
        ("${A}", "${A}"),
    ],
)
def test_references_are_expanded_once_as_in_kubernetes(text, expanded):
    assert Expansion().expand(text, {"A": "x", "B": "$(A)"}) == expanded
