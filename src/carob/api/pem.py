"""Blocks of PEM text, found as Go's `encoding/pem` finds them: what is none is skipped. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(
    r"^-----BEGIN ([^\r\n]*?)-----[ \t]*\r?\n(.*?)^-----END \1-----[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_HEADER = re.compile(r"[^\n:]*:[^\n]*\n")
LINE = 64
CERTIFICATE = "CERTIFICATE"


class Block(NamedTuple):
    """One block: its type, whether it has headers, and what it holds."""

    type: str
    has_headers: bool
    content: bytes


def blocks(text: str) -> Iterator[Block]:
    """Every block whose content is base64."""
    at = 0
    while (found := _BLOCK.search(text, at)) is not None:
        # an END without its BEGIN in between belongs to a later block
        body, start = found[2], 0
        if "-----BEGIN " in body:
            at = found.start(2)
            continue
        while (header := _HEADER.match(body, start)) is not None:
            start = header.end()
        at = found.end()
        try:
            yield Block(found[1], start > 0, base64.b64decode("".join(body[start:].split()), validate=True))
        except binascii.Error:
            continue


def encode(kind: str, content: bytes) -> str:
    """A block as Go writes it."""
    text = base64.b64encode(content).decode()
    lines = "".join(f"{text[at : at + LINE]}\n" for at in range(0, len(text), LINE))
    return f"-----BEGIN {kind}-----\n{lines}-----END {kind}-----\n"
