"""Which answers are remembered."""

from __future__ import annotations

from carob.base.memo import LONGEST_TEXT, remembered


def test_short_texts_are_remembered_and_long_ones_are_not() -> None:
    asked: list[str] = []

    @remembered(2)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    long = "x" * (LONGEST_TEXT + 1)
    for text in ("a", "a", long, long, "b", "c", "a"):
        assert length(text) == len(text)
    assert asked == ["a", long, long, "b", "c", "a"]
