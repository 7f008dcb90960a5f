"""The difference of two specs as upstream shows it: a unified diff of the indented internal form. Pure."""

from __future__ import annotations

import difflib

from carob.api.validation import internal


def difference(old: object, new: object) -> str:
    """What was taken away and what was added, three lines around each."""
    before, after = ((internal.indented(value) + "\n").splitlines(keepends=True) for value in (old, new))
    return "".join(list(difflib.unified_diff(before, after))[2:])
