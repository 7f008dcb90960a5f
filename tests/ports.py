"""Ports for servers of the tests that cannot be asked to listen on port 0."""

from __future__ import annotations

import random
import socket

# below the range from which the kernel takes ports for outgoing connections: nobody gets one by chance
_FIRST, _LAST = 20_000, 30_000


def free_port(address: str = "127.0.0.1") -> int:
    """A port of `address` on which nobody listens, over TCP and over UDP."""
    while True:
        port = random.randint(_FIRST, _LAST)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            try:
                stream.bind((address, port))
                datagrams.bind((address, port))
            except OSError:
                continue
            return port
