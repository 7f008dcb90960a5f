"""The number in front of every WebSocket message that tells its channel, binary or as a digit before base64.

Source: apimachinery `pkg/util/httpstream/wsstream`.
"""

from __future__ import annotations

import base64
import binascii

from carob.wire.errors import ProtocolError

MAX_TEXT_MESSAGE_BYTES = 4 << 20


class ChannelMessages:
    """Pieces of WebSocket messages to bytes of channels: the first byte of a message (or digit) is its channel."""

    def __init__(self, encoded: bool) -> None:
        self._encoded = encoded
        self._channel = -1
        self._text = b""

    def feed(self, data: bytes, *, start: bool, end: bool) -> list[tuple[int, bytes]]:
        """The bytes that came, with their channel; base64 messages only when they are complete."""
        if self._encoded:
            return self._feed_base64(data, start, end)
        if start:
            self._channel = -1
        if self._channel < 0:
            if not data:
                return []
            self._channel = data[0]
            data = data[1:]
        return [(self._channel, data)]

    def _feed_base64(self, data: bytes, start: bool, end: bool) -> list[tuple[int, bytes]]:
        self._text = data if start else self._text + data
        if len(self._text) > MAX_TEXT_MESSAGE_BYTES:
            raise ProtocolError("a text message is too long")
        if not end or not self._text:
            return []
        text, self._text = self._text, b""
        try:
            return [(text[0] - ord("0"), base64.b64decode(text[1:], validate=True))]
        except binascii.Error as error:
            raise ProtocolError("a message is not base64") from error
