"""The pump of port-forward: local connections on one side, streams of one tunnel on the other.

One thread, one poll. A local connection is not read while much of what others sent is still to go out.

Source: client-go tools/portforward.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
import ssl
import sys
from typing import TYPE_CHECKING

from carob.cli.errors import CommandError
from carob.cli.upgrade import new_mask
from carob.wire.errors import ProtocolError
from carob.wire.portforward import Dropped, Failed, Left, Received, SpdyClientSession, WebSocketTube

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_BYTES = 64 * 1024
MAX_UNSENT_BYTES = 1 << 20
BACKLOG = 64

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def listen_addresses(texts: Sequence[str]) -> list[tuple[str, bool]]:
    """Addresses, each with whether it may fail alone. Raises: CommandError."""
    found: dict[str, bool] = {}
    for text in texts:
        if text == "localhost":
            found.setdefault("127.0.0.1", True)
            found.setdefault("::1", True)
            continue
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise CommandError(f"error: {text} is not a valid IP") from None
        found[text] = False
    return sorted(found.items())


def parse_ports(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Local and remote ports; local 0: any free one. Raises: CommandError in kubectl's words."""
    pairs = []
    for text in texts:
        parts = text.split(":")
        if len(parts) > 2:
            raise CommandError(f"error: invalid port format '{text}'")
        local, remote = (parts[0] or "0", parts[1]) if len(parts) == 2 else (parts[0], parts[0])
        pairs.append((_port(local, "local"), _port(remote, "remote")))
        if not pairs[-1][1]:
            raise CommandError("error: remote port must be > 0")
    return pairs


def _port(text: str, which: str) -> int:
    why = "" if text.isascii() and text.isdigit() else "invalid syntax"
    if not why and int(text) > 0xFFFF:
        why = "value out of range"
    if why:
        raise CommandError(f"error: error parsing {which} port '{text}': strconv.ParseUint: parsing \"{text}\": {why}")
    return int(text)


class _Local:
    """One accepted connection and the stream that it travels on."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.unsent = bytearray()
        self.read_ended = False
        self.write_ended = False
        self.remote_ended = False


class Forwarder:
    """Listens, and forwards until the server leaves."""

    def __init__(self, sock: socket.socket, early: bytes) -> None:
        self._tunnel = sock
        self._early = early
        self._session = SpdyClientSession(WebSocketTube(new_mask))
        self._selector = selectors.DefaultSelector()
        self._unsent = bytearray()
        self._listeners: list[socket.socket] = []
        self._locals: dict[int, _Local] = {}
        self._left = False
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, None)

    # --- listening

    def listen(self, addresses: Sequence[tuple[str, bool]], pairs: Sequence[tuple[int, int]]) -> None:
        """Open the local ports. Raises: CommandError if none can be had."""
        listening = False
        for local, remote in pairs:
            errors = []
            done_any = False
            for address, lenient in addresses:
                try:
                    local = self._listen_on(address, local, remote)
                    done_any = True
                except OSError as error:
                    family = "tcp6" if ":" in address else "tcp4"
                    host = f"[{address}]" if ":" in address else address
                    text = f"unable to create listener: Error listen {family} {host}:{local}: bind: {(error.strerror or '').lower()}"
                    errors.append((lenient, text))
            if errors and (not done_any or any(not lenient for lenient, _ in errors)):
                texts = " ".join(text for _, text in errors)
                print(
                    f"Unable to listen on port {local}: Listeners failed to create with the following errors: [{texts}]",
                    file=sys.stderr,
                )
                continue
            listening = True
        if not listening:
            shown = " ".join(f"{{{local} {remote}}}" for local, remote in pairs)
            raise CommandError(f"error: unable to listen on any of the requested ports: [{shown}]")

    def _listen_on(self, address: str, local: int, remote: int) -> int:
        six = ":" in address
        listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, local))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        port = int(listener.getsockname()[1])
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, (listener, port, remote))
        print(f"Forwarding from {f'[{address}]' if six else address}:{port} -> {remote}", flush=True)
        return port

    # --- forwarding

    def run(self) -> None:
        """Until the server leaves. Raises: CommandError when it does."""
        self._feed(self._early)
        while not self._left:
            self._flush()
            for key, mask in self._selector.select(30.0):
                self._on_ready(key.data, mask)
        raise CommandError("error: lost connection to pod")

    def _on_ready(self, data: object, mask: int) -> None:
        if data is None:
            if mask & selectors.EVENT_READ:
                self._receive()
        elif isinstance(data, tuple):
            self._accept(*data)
        elif isinstance(data, _Local):
            if mask & selectors.EVENT_READ:
                self._read_local(data)
            if mask & selectors.EVENT_WRITE:
                self._write_local(data)

    def _accept(self, listener: socket.socket, local: int, remote: int) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # it left before we came
        print(f"Handling connection for {local}", flush=True)
        sock.setblocking(False)
        one = _Local(sock, self._session.connect(remote))
        self._locals[one.number] = one
        self._selector.register(sock, selectors.EVENT_READ, one)

    def _flush(self) -> None:
        """Send what can be sent, and poll for what matters now."""
        self._unsent += self._session.take()
        while self._unsent:
            try:
                sent = self._tunnel.send(self._unsent)
            except _NOT_NOW:
                break
            except OSError:
                self._left = True
                return
            del self._unsent[:sent]
        # a local reader that is slower than the Pod holds up the tunnel, and with it the Pod
        slow = any(len(one.unsent) > MAX_UNSENT_BYTES for one in self._locals.values())
        events = (0 if slow else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self._unsent else 0)
        if events and self._tunnel in self._selector.get_map():
            self._selector.modify(self._tunnel, events, None)
        elif events:
            self._selector.register(self._tunnel, events, None)
        elif self._tunnel in self._selector.get_map():
            self._selector.unregister(self._tunnel)
        for one in list(self._locals.values()):
            self._watch(one)

    def _watch(self, one: _Local) -> None:
        events = 0
        if not one.read_ended and len(self._unsent) < MAX_UNSENT_BYTES:
            events |= selectors.EVENT_READ
        if one.unsent:
            events |= selectors.EVENT_WRITE
        known = one.sock in self._selector.get_map()
        if events and known:
            self._selector.modify(one.sock, events, one)
        elif events:
            self._selector.register(one.sock, events, one)
        elif known:
            self._selector.unregister(one.sock)

    def _receive(self) -> None:
        while not self._left:
            try:
                data = self._tunnel.recv(256 * 1024)
            except _NOT_NOW:
                return
            except OSError:
                data = b""
            if not data:
                self._left = True
                return
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            events = self._session.receive(data)
        except ProtocolError as error:
            raise CommandError(f"error: {error}") from error
        for event in events:
            if isinstance(event, Left):
                self._left = True
                continue
            one = self._locals.get(event.number)
            if isinstance(event, Failed):
                print(f'An error occurred forwarding: "{event.message}"', file=sys.stderr)
                self._left = True
            elif one is None:
                continue
            elif isinstance(event, Received):
                one.unsent += event.data
                one.remote_ended = one.remote_ended or event.end
                self._write_local(one)
            elif isinstance(event, Dropped):
                self._forget(one)

    def _read_local(self, one: _Local) -> None:
        try:
            data = one.sock.recv(BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._session.drop(one.number)
            self._forget(one)
            return
        if data:
            self._session.send(one.number, data)
            return
        one.read_ended = True
        self._session.end(one.number)
        self._end_if_over(one)

    def _write_local(self, one: _Local) -> None:
        while one.unsent:
            try:
                sent = one.sock.send(one.unsent)
            except BlockingIOError:
                return
            except OSError:
                self._session.drop(one.number)
                self._forget(one)
                return
            del one.unsent[:sent]
        self._end_if_over(one)

    def _end_if_over(self, one: _Local) -> None:
        if not one.remote_ended or one.unsent:
            return
        # as kubectl: when the Pod's side has ended, the connection is over
        if not one.read_ended:
            self._session.drop(one.number)
        self._forget(one)

    def _forget(self, one: _Local) -> None:
        if self._locals.pop(one.number, None) is None:
            return
        if one.sock in self._selector.get_map():
            self._selector.unregister(one.sock)
        one.sock.close()

    def close(self) -> None:
        """Let go of everything."""
        for one in list(self._locals.values()):
            self._forget(one)
        for listener in self._listeners:
            listener.close()
        self._tunnel.close()
        self._selector.close()
