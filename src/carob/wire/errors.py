"""What the protocols of this room raise: the peer broke the rules, so nothing behind it can be understood."""

from __future__ import annotations


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; the connection must end."""
