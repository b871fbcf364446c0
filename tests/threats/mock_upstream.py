"""A server that says what a script says, on loopback, in place of PostgreSQL.

A real server can't be made to lie, to break off inside of a message or to ask
for a password in clear; this one does nothing else. It lets everyone in (the
target must allow ``none``) unless the script takes over the login as well.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from wire import frame

Script = Callable[["Call"], None]

PARAMETERS = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "server_version": "15.0",
    "integer_datetimes": "on",
}


class Call:
    """One connection of the gateway's. ``heard`` is every byte it sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = bytearray()
        self.said = bytearray()
        self._at = 0

    def say(self, *raw: bytes) -> None:
        data = b"".join(raw)
        self.said += data
        self.sock.sendall(data)

    def trickle(self, raw: bytes, size: int = 1) -> None:
        """Send in pieces of ``size`` bytes, each a segment of its own."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(raw), size):
            self.say(raw[at : at + size])

    def _need(self, count: int) -> bool:
        while len(self.heard) - self._at < count:
            data = self.sock.recv(65536)
            if not data:
                return False
            self.heard += data
        return True

    def packet(self) -> bytes:
        """A startup packet, b"" at the end."""
        if not self._need(4):
            return b""
        (size,) = struct.unpack_from(">I", self.heard, self._at)
        if not self._need(size):
            return b""
        self._at += size
        return bytes(self.heard[self._at - size : self._at])

    def message(self) -> tuple[str, bytes] | None:
        if not self._need(5):
            return None
        (size,) = struct.unpack_from(">I", self.heard, self._at + 1)
        if not self._need(size + 1):
            return None
        raw = bytes(self.heard[self._at : self._at + size + 1])
        self._at += size + 1
        return chr(raw[0]), raw[5:]

    def greet(self) -> None:
        """AuthenticationOk, parameters, key, ReadyForQuery."""
        out = frame("R", struct.pack(">I", 0))
        for name, value in PARAMETERS.items():
            out += frame("S", f"{name}\0{value}\0".encode())
        self.say(out + frame("K", struct.pack(">II", 4711, 1234)) + frame("Z", b"I"))


class MockUpstream:
    """``host``, ``port`` and ``password`` as ``Stack`` wants them. ``script``
    runs once per connection, after the login unless ``raw``."""

    host = "127.0.0.1"
    password = "not-used"

    def __init__(self, script: Script | None = None, *, raw: bool = False) -> None:
        self.script = script
        self.raw = raw
        self.calls: list[Call] = []
        self.trouble: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            call = Call(sock)
            self.calls.append(call)
            threading.Thread(target=self._serve, args=(call,), daemon=True).start()

    def _serve(self, call: Call) -> None:
        try:
            if not self.raw:
                call.packet()
                call.greet()
            if self.script is not None:
                self.script(call)
        except OSError:
            pass
        except BaseException as error:
            self.trouble.append(error)
        finally:
            with contextlib.suppress(OSError):
                call.sock.shutdown(socket.SHUT_RDWR)
            call.sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


NO_PASSWORD = 'auth = ["none"]'
"""For ``Stack(target=...)``: what lets the gateway take an upstream like this."""


def columns(*names: str, table: int = 0, form: int = 0) -> bytes:
    body = struct.pack(">H", len(names))
    for number, name in enumerate(names):
        body += name.encode() + b"\0" + struct.pack(">IhIhih", table, number + 1, 25, -1, -1, form)
    return frame("T", body)


def data(*values: bytes | None) -> bytes:
    body = struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1 if value is None else len(value)) + (value or b"")
    return frame("D", body)


def complete(tag: str) -> bytes:
    return frame("C", tag.encode() + b"\0")


READY = frame("Z", b"I")


def answering(*raw: bytes) -> Script:
    """Answers every Query with ``raw``, and leaves on Terminate."""

    def script(call: Call) -> None:
        while (message := call.message()) is not None:
            if message[0] == "X":
                return
            if message[0] == "Q":
                call.say(*raw)

    return script
