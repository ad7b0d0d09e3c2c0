"""JSON values from the bytes of a fuzzer: random bytes are hardly ever valid JSON."""

from __future__ import annotations

from typing import Any

_NUMBERS = (0, 1, -1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 0.5, -1.5, 1e308)


def json_value(data: Any, words: tuple[str, ...], depth: int = 5) -> Any:
    """Return a value as :mod:`json` has it.

    :param data: an ``atheris.FuzzedDataProvider``.
    :param words: names and strings that the reader of the value knows.
    """
    kind = data.ConsumeIntInRange(0, 9)
    if kind <= 2 and depth:
        return {
            json_word(data, words): json_value(data, words, depth - 1)
            for _ in range(data.ConsumeIntInRange(0, 8))
        }
    if kind <= 4 and depth:
        return [json_value(data, words, depth - 1) for _ in range(data.ConsumeIntInRange(0, 5))]
    if kind == 5:
        return _NUMBERS[data.ConsumeIntInRange(0, len(_NUMBERS) - 1)]
    if kind == 6:
        return (True, False, None)[data.ConsumeIntInRange(0, 2)]
    return json_word(data, words)


def json_word(data: Any, words: tuple[str, ...]) -> str:
    """Return one of *words*, or any string."""
    at = data.ConsumeIntInRange(0, len(words) + 1)
    if at < len(words):
        return words[at]
    return str(data.ConsumeUnicode(data.ConsumeIntInRange(0, 40)))
