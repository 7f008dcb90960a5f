"""What objects have in common is kept once, while several have it."""

from __future__ import annotations

import orjson

from carob.apiserver.packing import LEAST_PATTERNS, MAX_VALUES, Packer


def text(kind: int, number: int) -> bytes:
    return orjson.dumps({"kind": f"kind {kind}", "uid": f"{number:08}-0000"})


def test_patterns_that_several_have_outlive_those_that_nobody_else_has() -> None:
    packer = Packer()
    kept = [packer.pack(b"", text(kind, number)) for number in range(2) for kind in range(3)]
    assert len({id(pattern) for pattern, _ in kept}) == 3
    for kind in range(3, 3 * LEAST_PATTERNS):
        kept.append(packer.pack(b"", text(kind, 0)))
        assert len(packer._patterns) <= LEAST_PATTERNS
    pattern, values = packer.pack(b"", text(0, 9))
    assert pattern is kept[0][0]
    assert pattern % values == text(0, 9)


def test_many_patterns_in_use_are_all_kept() -> None:
    packer = Packer()
    count = 2 * LEAST_PATTERNS
    kept = [packer.pack(b"", text(kind // 2, kind)) for kind in range(2 * count)]
    # but for those of which the second one had not come when room was made
    assert count <= len({id(pattern) for pattern, _ in kept}) <= count + 4


def test_values_are_bounded_and_equal_ones_kept_once() -> None:
    packer = Packer()
    (_, one), (_, two) = packer.pack(b"", text(0, 1)), packer.pack(b"", text(1, 1))
    assert one[0] is two[0]
    for number in range(2 * MAX_VALUES):
        packer.pack(b"", text(0, number))
    assert len(packer._values) <= MAX_VALUES
