"""PostgreSQL: simple and extended queries, COPY both ways, refusals in each."""

from __future__ import annotations

import struct

import tokens
from subject import Script, Subject
from words_postgres import REFUSED, Words

from protocols.contract import Destined
from protocols.wire import Side

TOKEN = b"canary-token-9d2e"
REAL_KEY = b"\0\0\x30\x39realkey"[:8]
WORDS = Words()


def client(*lines: str) -> bytes:
    return b"".join(WORDS.encode(Side.CLIENT, tokens.split(line)) for line in lines)


def server(*lines: str) -> bytes:
    return b"".join(WORDS.encode(Side.UPSTREAM, tokens.split(line)) for line in lines)


STARTUP = client("Startup user=agent database=shop")
PASSWORD = client(f'Password "{TOKEN.decode()}"')
READY = server("ReadyForQuery I")
RESULTS = {
    b"select 1": server(
        "RowDescription a", 'DataRow "1"', "DataRow NULL", 'CommandComplete "SELECT 2"'
    ),
    b"select $1::text": server("RowDescription t", 'DataRow "x"', 'CommandComplete "SELECT 1"'),
    b"select 1; select 1": 2
    * server("RowDescription a", 'DataRow "1"', "DataRow NULL", 'CommandComplete "SELECT 2"'),
    b"begin": server('CommandComplete "BEGIN"'),
    b"select 1/0": server('ErrorResponse ERROR 22012 "division by zero"'),
    b"": server("EmptyQueryResponse"),
    b"copy orders to stdout": server(
        "CopyOutResponse 2", 'CopyData "1\\topen\\n"', "CopyDone", 'CommandComplete "COPY 1"'
    ),
    b"copy orders from stdin": server("CopyInResponse 2"),
    b"delete from forbidden": server('CommandComplete "DELETE 1"'),
    b"delete from forbidden where id = $1": server('CommandComplete "DELETE 1"'),
}


class Postgres:
    """Answers what it is sent, in the order and with the skipping of a real one."""

    def __init__(self) -> None:
        self.buffer = b""
        self.started = self.through = self.skipping = self.copying = False
        self.statements: dict[bytes, bytes] = {}
        self.portals: dict[bytes, bytes] = {}

    def receive(self, data: bytes) -> bytes:
        self.buffer += data
        out = b""
        while True:
            buffer = self.buffer
            head = 1 if self.started else 0
            if len(buffer) < head + 4:
                return out
            (size,) = struct.unpack_from(">I", buffer, head)
            if size < 4:
                self.buffer = b""
                return out
            if len(buffer) < head + size:
                return out
            self.buffer = buffer[head + size :]
            if not self.started:
                self.started = True
                out += server("AuthenticationCleartextPassword")
                continue
            try:
                out += self.message(chr(buffer[0]), buffer[5 : 1 + size])
            except (ValueError, struct.error, IndexError, KeyError):
                self.skipping = True
                out += server('ErrorResponse ERROR 08P01 "protocol violation"')

    def message(self, kind: str, body: bytes) -> bytes:
        if not self.through:
            self.through = True
            name = tokens.quote(REAL_KEY)
            return server(
                "AuthenticationOk",
                "ParameterStatus client_encoding=UTF8",
                "ParameterStatus standard_conforming_strings=on",
                "ParameterStatus search_path=public",
                f"BackendKeyData {name}",
                "ReadyForQuery I",
            )
        if self.copying:
            return self.copy(kind)
        if kind == "S":
            self.skipping = False
            return READY
        if kind in "HXdcf" or self.skipping:
            return b""
        if kind == "Q":
            raw = self.run(body[:-1])
            self.copying = raw[:1] == b"G"
            return raw if self.copying else raw + READY
        raw = self.extended(kind, body)
        if raw[:1] == b"E":
            self.skipping = True
        return raw

    def copy(self, kind: str) -> bytes:
        if kind not in "cf":
            return b""
        self.copying = False
        if kind == "c":
            return server('CommandComplete "COPY 1"') + READY
        return server('ErrorResponse ERROR 57014 "COPY from stdin failed"') + READY

    def run(self, text: bytes) -> bytes:
        if text in RESULTS:
            return RESULTS[text]
        word = text.split()[0][:60] if text.split() else b""
        quoted = tokens.quote(b'syntax error at or near "' + word + b'"')
        return server(f"ErrorResponse ERROR 42601 {quoted}")

    def extended(self, kind: str, body: bytes) -> bytes:
        missing = server('ErrorResponse ERROR 26000 "does not exist"')
        if kind == "P":
            name, text, _ = body.split(b"\0", 2)
            if text not in RESULTS:
                return self.run(text)
            self.statements[name] = text
            return server("ParseComplete")
        if kind == "B":
            portal, name, _ = body.split(b"\0", 2)
            if name not in self.statements:
                return missing
            self.portals[portal] = self.statements[name]
            return server("BindComplete")
        if kind == "D":
            book = self.statements if body[:1] == b"S" else self.portals
            text = book.get(body[1:-1])
            if text is None:
                return missing
            rows = RESULTS[text]
            described = server("NoData")
            if rows[:1] == b"T":
                described = rows[: 1 + int.from_bytes(rows[1:5], "big")]
            return (server("ParameterDescription") if body[:1] == b"S" else b"") + described
        if kind == "E":
            text = self.portals.get(body[:-5])
            if text is None:
                return missing
            rows = RESULTS[text]
            if rows[:1] == b"T":
                rows = rows[1 + int.from_bytes(rows[1:5], "big") :]
            return rows
        if kind == "C":
            (self.statements if body[:1] == b"S" else self.portals).pop(body[1:-1], None)
            return server("CloseComplete")
        return missing


def refusals(raw: bytes) -> int:
    at = count = 0
    while at < len(raw):
        assert len(raw) >= at + 5
        (size,) = struct.unpack_from(">I", raw, at + 1)
        body = raw[at + 5 : at + 1 + size]
        assert size >= 4
        assert len(body) == size - 4, "a torn message"
        if raw[at : at + 1] == b"E" and b"Mblocked by rule the-rule: the reason\0" in body:
            assert b"C42501\0" in body
            assert b"session-1" in body
            assert body.endswith(b"\0\0")
            count += 1
        at += 1 + size
    assert REFUSED not in raw
    return count


def script(*turns: bytes, errors: bool = False) -> Script:
    return Script((STARTUP, PASSWORD, *turns), 2, errors=errors)


SUBJECT = Subject(
    scripts={
        "simple": script(
            client('Query "select 1"'),
            client('Query "select 1/0"'),
            client('Query ""'),
            errors=True,
        ),
        "refused": script(
            client('Query "begin"'),
            client('Query "delete from forbidden"'),
            client(
                'Query "select 1; select 1"', 'Query "delete from forbidden"', 'Query "select 1"'
            ),
        ),
        "extended": script(
            client(
                'Parse s "select $1::text"', "Describe S s", 'Bind - s "v"', "Execute -", "Sync"
            ),
            client('Bind p s "w"', "Describe P p", "Execute p", "Close P p", "Close S s", "Sync"),
        ),
        "pipeline": script(
            client(
                *('Parse - "select 1"', "Bind - -", "Execute -", "Sync"),
                *('Parse - "delete from forbidden where id = $1"', 'Bind - - "1"', "Execute -"),
                *('Parse - "select 1"', "Bind - -", "Execute -", "Sync"),
                *('Parse - "select 1/0"', "Bind - -", "Execute -", "Sync"),
            ),
            client('Query "select 1"'),
            client("Terminate"),
            errors=True,
        ),
        "copy": script(
            client('Query "copy orders to stdout"'),
            client('Query "copy orders from stdin"'),
            client('CopyData "1\\topen\\n"', 'CopyData "2\\topen\\n"', "CopyDone"),
            client('Query "select 1"'),
        ),
    },
    server=Postgres,
    destined=Destined(
        "svc", "shop", "disable", b"\0\0\0\7key!", {"auth": ("cleartext",)}, masked=True
    ),
    canaries=(TOKEN, REAL_KEY),
    forbidden="forbidden",
    results=frozenset({"simple", "refused", "extended", "pipeline"}),
    refusals=refusals,
    oversized=(
        (Side.CLIENT, b"Q" + struct.pack(">I", 1 << 24)),
        (Side.CLIENT, b"P" + struct.pack(">I", 0x7FFFFFFF)),
        (Side.UPSTREAM, b"E" + struct.pack(">I", 1 << 30)),
    ),
)
