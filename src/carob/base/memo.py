"""Answers about texts that come again and again are remembered; about long texts they are not.

A bound on how many answers are kept is no bound on memory when those who ask choose the texts. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LONGEST_TEXT = 512


def remembered(maxsize: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """A decorator for pure functions of one text: the last `maxsize` answers about texts up to `LONGEST_TEXT` are kept."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        known = lru_cache(maxsize=maxsize)(function)

        def answer(text: str) -> T:
            return known(text) if len(text) <= LONGEST_TEXT else function(text)

        answer.__doc__ = function.__doc__
        return answer

    return decorate
