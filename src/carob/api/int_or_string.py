"""IntOrString: a number, or a text that is a percentage or a port name.

Pure. Source: apimachinery `pkg/util/intstr`.
"""

from __future__ import annotations

import re

_PERCENT = re.compile(r"([+-]?[0-9]+)%", re.ASCII)


def percent_of(value: int | str) -> int | None:
    """The number before the percent sign; None for a number or another text."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else None


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """The number itself, or the percentage of `total`.

    Raises: ValueError in upstream's words for a text that is no percentage.
    """
    if isinstance(value, int):
        return value
    percent = percent_of(value)
    if percent is None:
        why = (
            f'strconv.Atoi: parsing "{value[:-1]}": invalid syntax'
            if value.endswith("%")
            else "string is not a percentage"
        )
        prefix = f'invalid value "{value}": ' if value.endswith("%") else "invalid type: "
        raise ValueError(f"invalid value for IntOrString: {prefix}{why}")
    product = percent * total
    return -(-product // 100) if round_up else product // 100 if product >= 0 else -(-product // 100)


def number_or_zero(value: int | str) -> int:
    """The number; of a text the number that it spells, or zero. Source: `IntOrString.IntValue`."""
    if isinstance(value, int):
        return value
    try:
        return int(value)
    except ValueError:
        return 0
