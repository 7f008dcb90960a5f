"""The CRI's messages as bytes. The golden ones are the protobuf documentation's own examples."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.runtime.cri.codec import UNSIGNED, BadMessage, Message, decode, encode

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


class Inner(Message):
    a: Annotated[int, 1] = 0


class Every(Message):
    number: Annotated[int, 1] = 0
    text: Annotated[str, 2] = ""
    inner: Annotated[Inner | None, 3] = None
    numbers: Annotated[list[int], 4] = []
    yes: Annotated[bool, 5] = False
    texts: Annotated[list[str], 6] = []
    inners: Annotated[list[Inner], 7] = []
    words: Annotated[dict[str, str], 8] = {}
    data: Annotated[bytes, 9] = b""
    big: Annotated[int, 10, UNSIGNED] = 0
    real: Annotated[float, 11] = 0.0
    far: Annotated[str, 200] = ""


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Inner(a=150), "08 96 01"),
        (Every(text="testing"), "12 07 74 65 73 74 69 6e 67"),
        (Every(inner=Inner(a=150)), "1a 03 08 96 01"),
        (Every(numbers=[3, 270, 86942]), "22 06 03 8e 02 9e a7 05"),
        (Every(number=-2), "08 fe ff ff ff ff ff ff ff ff 01"),
        (Every(inner=Inner()), "1a 00"),
        (Every(words={"a": ""}), "42 05 0a 01 61 12 00"),
        (Every(far="x"), "c2 0c 01 78"),
        (Every(real=1.5), "59 00 00 00 00 00 00 f8 3f"),
        (Every(), ""),
    ],
)
def test_the_bytes_are_protobufs(message: Message, wire: str) -> None:
    assert encode(message) == bytes.fromhex(wire)
    assert decode(type(message), bytes.fromhex(wire)) == message


def test_numbers_are_read_packed_or_not_and_unknown_fields_are_passed_over() -> None:
    # field 4 one by one; fields 1000 (varint), 1001 (64 bits), 1002 (32 bits), 1003 (bytes) are not known
    unknown = "c0 3e 01  c9 3e 00 00 00 00 00 00 00 00  d5 3e 00 00 00 00  da 3e 01 00"
    assert decode(Every, bytes.fromhex("20 03 20 8e 02 " + unknown)) == Every(numbers=[3, 270])


@pytest.mark.parametrize(
    "wire", ["08", "12 05 61", "0a 01 61", "12 01 ff", "0b", "59 00", "5a 00", "08" + " ff" * 11, "42 03 0a 05 61"]
)
def test_what_is_no_message_is_refused(wire: str) -> None:
    with pytest.raises(BadMessage):
        decode(Every, bytes.fromhex(wire))


@given(
    st.builds(
        Every,
        number=INT64,
        text=st.text(),
        inner=st.none() | st.builds(Inner, a=INT64),
        numbers=st.lists(INT64),
        yes=st.booleans(),
        texts=st.lists(st.text()),
        inners=st.lists(st.builds(Inner, a=INT64)),
        words=st.dictionaries(st.text(), st.text()),
        data=st.binary(),
        big=st.integers(0, (1 << 64) - 1),
        real=st.floats(allow_nan=False),
        far=st.text(),
    )
)
def test_what_is_written_is_read(message: Every) -> None:
    assert decode(Every, encode(message)) == message
