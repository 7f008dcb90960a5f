"""From counts to scores.

Pure. Source: scheduler `helper.DefaultNormalizeScore`.
"""

from __future__ import annotations

MAX_SCORE = 100


def normalized(values: list[int], *, reverse: bool) -> list[int]:
    """Scale so that the largest becomes 100; `reverse`: so that the smallest becomes the best."""
    largest = max(values, default=0)
    if largest == 0:
        return [MAX_SCORE if reverse else 0] * len(values)
    scaled = [value * MAX_SCORE // largest for value in values]
    return [MAX_SCORE - value for value in scaled] if reverse else scaled
