"""Whether tolerations cover a taint.

Pure. Source: api/core/v1 `Toleration.ToleratesTaint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types.core_v1 import Toleration


def tolerates(tolerations: Iterable[Toleration], key: str, value: str, effect: str) -> bool:
    """Whether one of the tolerations covers the taint."""
    return any(_covers(toleration, key, value, effect) for toleration in tolerations)


def _covers(toleration: Toleration, key: str, value: str, effect: str) -> bool:
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.value == value
