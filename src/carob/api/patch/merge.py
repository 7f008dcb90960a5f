"""JSON merge patch (RFC 7396).

Pure. Objects that the patch touched come out with sorted keys, as upstream's library writes them: a message that repeats
the patched object shows it.
"""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """The target with the patch's values; null removes."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key), value)
        else:
            result[key] = value
    return dict(sorted(result.items()))
