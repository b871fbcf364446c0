"""A PostgreSQL client of our own that says exactly what it is told to say.

Drivers are polite; an attacker is not. ``Wire`` sends raw bytes and cuts what
comes back into messages, and knows no more of the protocol than that.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from types import TracebackType

SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSS_REQUEST = struct.pack(">II", 8, 80877104)
SECONDS = 10.0

Message = tuple[str, bytes]


def frame(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def startup(parameters: dict[str, str] | None = None, code: int = 196608) -> bytes:
    pairs = {"user": "agent", "database": "postgres"} if parameters is None else parameters
    body = b"".join(f"{k}\0{v}\0".encode() for k, v in pairs.items()) + b"\0"
    return struct.pack(">II", len(body) + 8, code) + body


def query(text: str | bytes) -> bytes:
    return frame("Q", (text.encode() if isinstance(text, str) else text) + b"\0")


def parse(name: str, text: str, *oids: int) -> bytes:
    types = struct.pack(f">H{len(oids)}I", len(oids), *oids)
    return frame("P", name.encode() + b"\0" + text.encode() + b"\0" + types)


def bind(
    portal: str, name: str, *values: bytes | None, results: Iterable[int] = (), formats: int = -1
) -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0"
    body += struct.pack(">H", 0) if formats < 0 else struct.pack(">HH", 1, formats)
    body += struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1 if value is None else len(value)) + (value or b"")
    codes = list(results)
    return frame("B", body + struct.pack(f">H{len(codes)}H", len(codes), *codes))


def describe(what: str, name: str = "") -> bytes:
    return frame("D", what.encode() + name.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return frame("E", portal.encode() + b"\0" + struct.pack(">i", rows))


def close(what: str, name: str = "") -> bytes:
    return frame("C", what.encode() + name.encode() + b"\0")


SYNC = frame("S")
FLUSH = frame("H")
TERMINATE = frame("X")


def fields(body: bytes) -> dict[str, str]:
    """An ErrorResponse or NoticeResponse, by the letters of its fields."""
    return {
        p[:1].decode(): p[1:].decode("utf-8", "backslashreplace") for p in body.split(b"\0") if p
    }


def row(body: bytes) -> list[bytes | None]:
    (count,) = struct.unpack_from(">H", body)
    at, values = 2, []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", body, at)
        at += 4
        values.append(None if size < 0 else body[at : at + size])
        at += max(size, 0)
    assert at == len(body), "the lengths of a DataRow don't add up"
    return values


class Answer(list[Message]):
    """The messages up to a ReadyForQuery or the end of the stream."""

    @property
    def kinds(self) -> str:
        return "".join(kind for kind, _ in self)

    @property
    def errors(self) -> list[dict[str, str]]:
        return [fields(body) for kind, body in self if kind == "E"]

    @property
    def error(self) -> dict[str, str]:
        assert self.errors, f"no error among {self}"
        return self.errors[0]

    @property
    def code(self) -> str:
        """SQLSTATE of the first error, "" when there is none."""
        return self.errors[0]["C"] if self.errors else ""

    @property
    def rows(self) -> list[list[bytes | None]]:
        return [row(body) for kind, body in self if kind == "D"]

    @property
    def tags(self) -> list[str]:
        return [body[:-1].decode() for kind, body in self if kind == "C"]

    @property
    def status(self) -> str:
        """The last transaction status; "" when the stream ended instead."""
        return next((body.decode() for kind, body in reversed(self) if kind == "Z"), "")


class Wire:
    """One connection. ``seen`` is every byte that came."""

    def __init__(self, port: int, *, source: str = "", seconds: float = SECONDS) -> None:
        self.sock = socket.create_connection(
            ("127.0.0.1", port), seconds, source_address=(source, 0) if source else None
        )
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen = bytearray()
        self._at = 0
        self.ended = False

    # -- bytes ------------------------------------------------------------

    def send(self, *raw: bytes) -> Wire:
        """Send; a peer that hung up is found out when reading."""
        try:
            self.sock.sendall(b"".join(raw))
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def fill(self) -> bool:
        """Read once; False at the end of the stream."""
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.seen += data
        self.ended = self.ended or not data
        return bool(data)

    def byte(self) -> bytes:
        """One byte (an answer to SSLRequest); b"" at the end."""
        while len(self.seen) <= self._at:
            if not self.fill():
                return b""
        self._at += 1
        return bytes(self.seen[self._at - 1 : self._at])

    def message(self) -> Message | None:
        """The next message; None at the end of the stream."""
        while True:
            have = len(self.seen) - self._at
            if have >= 5:
                (size,) = struct.unpack_from(">I", self.seen, self._at + 1)
                assert size >= 4, f"a torn message: {bytes(self.seen[self._at :])[:60]!r}"
                if have > size:
                    raw = bytes(self.seen[self._at : self._at + 1 + size])
                    self._at += 1 + size
                    return chr(raw[0]), raw[5:]
            if not self.fill():
                assert len(self.seen) == self._at, (
                    f"the stream ends inside of a message: {bytes(self.seen[self._at :])[:60]!r}"
                )
                return None

    def until(self, kinds: str = "Z") -> Answer:
        """Messages up to and with one of ``kinds``, or to the end."""
        out = Answer()
        while True:
            message = self.message()
            if message is None:
                return out
            out.append(message)
            if message[0] in kinds:
                return out

    def rest(self) -> Answer:
        """Everything to the end of the stream, which must come."""
        return self.until("")

    def quiet(self, seconds: float = 0.3) -> bool:
        """True when nothing more comes for so long."""
        self.sock.settimeout(seconds)
        try:
            return not self.fill() and not self.ended
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(SECONDS)

    # -- words ------------------------------------------------------------

    def login(
        self, token: str, parameters: dict[str, str] | None = None, code: int = 196608
    ) -> Answer:
        """Startup and password; what came up to ReadyForQuery or the end."""
        self.send(startup(parameters, code))
        asked = self.until("RE")
        if asked.kinds[-1:] != "R":
            return asked
        assert asked[-1][1][:4] == struct.pack(">I", 3), asked
        self.send(frame("p", token.encode() + b"\0"))
        return self.until("ZE")

    def ask(self, text: str | bytes) -> Answer:
        """A Query and all of its answer."""
        return self.send(query(text)).until()

    def say(self, *messages: bytes) -> Answer:
        """Messages of the extended protocol and a Sync, and all of the answer."""
        return self.send(*messages, SYNC).until()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def enter(
    stack: object, database: str = "shop", *, token: str = "", source: str = "", **parameters: str
) -> Wire:
    """A Wire that is through the front door of ``stack``."""
    wire = Wire(stack.port, source=source)  # type: ignore[attr-defined]
    wanted = {"user": "agent", "database": database, **parameters}
    answer = wire.login(token or stack.token(), wanted)  # type: ignore[attr-defined]
    assert answer.status == "I", answer
    return wire


def await_true(condition: object, seconds: float = 10.0, what: str = "it") -> None:
    """Wait until ``condition()`` is true."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)
