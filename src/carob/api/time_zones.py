"""The names of the world's time zones, as the IANA database has them. Pure: the list is part of the program."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec


@cache
def known() -> frozenset[str]:
    """Every name. Source: `time_zones.json`, written from the tz database's list of names."""
    text = Path(__file__).with_name("time_zones.json").read_bytes()
    return frozenset(msgspec.json.decode(text, type=list[str]))
