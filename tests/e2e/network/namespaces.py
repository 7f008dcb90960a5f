"""Network namespaces for tests: each is a thread that lives in its own; gone when it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
ANSWER_SECONDS = 15


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Namespace:
    """Runs functions inside a network namespace of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.call(self._enter)

    @staticmethod
    def _enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")

    def call(self, function: Callable[[], T]) -> T:
        return self._thread.submit(function).result(20)

    def close(self) -> None:
        self._thread.shutdown()

    def descriptor(self) -> int:
        return self.call(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def serve(self, address: str, port: int, greeting: bytes) -> socket.socket:
        """Greet every TCP connection to this address with the greeting and the caller's address, until closed."""
        server = self.call(lambda: socket.create_server((address, port), family=family_of(address)))

        def answer() -> None:
            while True:
                try:
                    connection, peer = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting + b" " + peer[0].encode())

        threading.Thread(target=answer, daemon=True).start()
        return server

    def serve_udp(self, address: str, port: int, greeting: bytes) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(family_of(address), socket.SOCK_DGRAM)
            made.bind((address, port))
            return made

        server = self.call(make)

        def answer() -> None:
            while True:
                try:
                    data, peer = server.recvfrom(100)
                    if not data:
                        return
                    server.sendto(greeting + b" " + peer[0].encode(), peer)
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return server

    def fetch(self, address: str, port: int, timeout: float = 3.0) -> str:
        """What the server at this address says to us; `timeout` is for the connection, which the kernel alone makes."""

        def ask() -> str:
            with socket.create_connection((address, port), timeout) as connection:
                # the server is a thread of ours, which waits for its turn on a busy machine
                connection.settimeout(ANSWER_SECONDS)
                return connection.makefile("rb").read().decode()

        return self.call(ask)

    def fetch_udp(self, address: str, port: int) -> str:
        def ask() -> str:
            with socket.socket(family_of(address), socket.SOCK_DGRAM) as connection:
                connection.settimeout(3)
                connection.connect((address, port))
                connection.send(b"hello")
                return connection.recv(100).decode()

        return self.call(ask)


def stop(server: socket.socket) -> None:
    """Close a server whose thread waits in accept or recv."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
