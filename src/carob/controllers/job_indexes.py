"""Indexes of Indexed Jobs: sets of numbers written as `1,3-5,7`. Pure.

Source: kube-controller-manager `job/indexed_job_utils.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.controllers.views import PodView

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def parse(text: str | None, completions: int) -> set[int]:
    """The numbers below `completions` that a text names; what is no number is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first) + 1, completions)))
    return found


def spell(indexes: Iterable[int]) -> str:
    """Numbers in order, with runs of three and more as ranges, and of two as a range, too."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def index_of(pod: PodView) -> int | None:
    """The Pod's index."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdigit() else None


def failures_of(pod: PodView) -> int:
    """How often its index had failed before it."""
    text = pod.metadata.annotations.get(FAILURES, "")
    return int(text) if text.isdigit() else 0
