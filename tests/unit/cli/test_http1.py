"""Answers of a server, however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.cli import http1


class Pieces:
    """A socket that yields these bytes, so many at a time, and then its end."""

    def __init__(self, data: bytes, size: int = 1 << 20) -> None:
        self.data = data
        self.size = size
        self.sent = b""

    def recv(self, _limit: int) -> bytes:
        piece, self.data = self.data[: self.size], self.data[self.size :]
        return piece

    def sendall(self, data: bytes) -> None:
        self.sent += data


def answer(data: bytes, size: int = 1 << 20) -> Any:
    sock: Any = Pieces(data, size)
    return http1.Answer(sock)


@given(st.integers(1, 40))
def test_a_body_of_known_length(size: int) -> None:
    got = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\nx-a: c\r\n\r\nhello\nworld", size)
    assert (got.status, got.headers["x-a"], got.read()) == (200, "b, c", b"hello\nworld")
    assert got.keep_alive


@given(st.integers(1, 40))
def test_a_body_in_chunks(size: int) -> None:
    body = b"5\r\nhello\r\n1;ext=1\r\n\n\r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n"
    got = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, size)
    assert [got.readline(), got.readline(), got.readline()] == [b"hello\n", b"world", b""]
    assert got.keep_alive


@given(st.integers(1, 40))
def test_a_body_that_ends_with_the_connection(size: int) -> None:
    got = answer(b"HTTP/1.1 200 OK\r\n\r\nall of it", size)
    assert got.read() == b"all of it"
    assert not got.keep_alive


def test_two_answers_follow_one_another_only_if_the_first_was_read() -> None:
    got = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert not got.keep_alive
    got.read()
    assert got.keep_alive
    closing = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert closing.read() == b""
    assert not closing.keep_alive


def test_continue_comes_before_the_answer() -> None:
    got = answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx")
    assert (got.status, got.read()) == (201, b"x")


def test_what_follows_an_upgrade_is_another_protocols() -> None:
    got = answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x82\x00")
    assert (got.status, got.rest, got.keep_alive) == (101, b"\x82\x00", False)


def test_warnings_are_kept_apart() -> None:
    got = answer(b'HTTP/1.1 200 OK\r\nWarning: 299 - "a"\r\nWarning: 299 - "b"\r\nContent-Length: 0\r\n\r\n')
    assert got.warnings == ['299 - "a"', '299 - "b"']


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_cut_or_makes_no_sense_is_an_error(data: bytes) -> None:
    with pytest.raises(ConnectionError):
        answer(data).read()


def test_requests() -> None:
    sock: Any = Pieces(b"")
    http1.send(sock, "GET", "/x?a=b", "h:1", [("Accept", "y")], None)
    assert sock.sent == b"GET /x?a=b HTTP/1.1\r\nHost: h:1\r\nAccept: y\r\n\r\n"
    sock.sent = b""
    http1.send(sock, "POST", "/x", "h", [], b"{}")
    assert sock.sent == b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    sock.sent = b""
    http1.send(sock, "DELETE", "/x", "h", [], None)
    assert sock.sent.endswith(b"Host: h\r\n\r\n")
