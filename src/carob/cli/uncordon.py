"""Mark node as schedulable again.

Examples:
  carob uncordon node-0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.cordon import add_flags, set_unschedulable

if TYPE_CHECKING:
    from carob.cli.flags import Arguments

__all__ = ["add_flags", "run"]


def run(arguments: Arguments) -> int:
    """Mark each node."""
    return set_unschedulable(arguments, False)
