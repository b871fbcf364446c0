"""PostgreSQL's messages in words."""

from __future__ import annotations

import struct
from typing import ClassVar

import tokens

from protocols.contract import Verifier
from protocols.postgres.scram import ScramServer, make_verifier
from protocols.wire import Side

PACKETS = {"SSLRequest": 80877103, "GSSENCRequest": 80877104, "CancelRequest": 80877102}
BARE_CLIENT = {"Sync": "S", "Flush": "H", "Terminate": "X", "CopyDone": "c"}
BARE_SERVER = {
    "ParseComplete": "1",
    "BindComplete": "2",
    "CloseComplete": "3",
    "NoData": "n",
    "PortalSuspended": "s",
    "EmptyQueryResponse": "I",
    "CopyDone": "c",
}
TEXT_CLIENT = {"Query": "Q", "Password": "p", "CopyFail": "f"}
TEXT_SERVER = {"CommandComplete": "C"}
NAMES_CLIENT = {v: k for k, v in (BARE_CLIENT | TEXT_CLIENT).items()}
NAMES_SERVER = {v: k for k, v in (BARE_SERVER | TEXT_SERVER).items()}
REFUSED = b"wirewarden_"


def frame(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def zero(*words: bytes) -> bytes:
    return b"".join(word + b"\0" for word in words)


def values(words: list[str]) -> bytes:
    out = struct.pack(">H", len(words))
    for word in words:
        raw = tokens.value(word)
        out += struct.pack(">i", -1) if word == "NULL" else struct.pack(">i", len(raw)) + raw
    return out


def pairs(words: list[str]) -> bytes:
    return zero(*(half for word in words for half in tokens.value(word).split(b"=", 1)))


def name(token: str) -> bytes:
    """``-`` is the unnamed statement or portal."""
    return b"" if token == "-" else tokens.value(token)


def report(kind: str, severity: bytes, code: bytes, text: bytes) -> bytes:
    fields = {b"S": severity, b"V": severity, b"C": code, b"M": text}
    return frame(kind, zero(*(k + v for k, v in fields.items())) + b"\0")


class Words:
    """Remembers what the words depend on: the SCRAM exchange, the words of
    refused messages, whether a packet without a type comes next."""

    cancel_key: ClassVar[bytes] = b"\0\0\0\7key!"

    def __init__(self) -> None:
        self.credential = b""
        self.refused: list[bytes] = []
        self.last = b""
        self.scram: ScramServer | None = None
        self.ssl = False
        self.started = False

    def verifier(self, secret: bytes) -> Verifier:
        return make_verifier(secret, b"salt")

    # -- from words to bytes ----------------------------------------------

    def encode(self, side: Side, words: list[str]) -> bytes:
        kind, *rest = words
        if kind == "raw":
            return tokens.value(rest[0])
        raw = (self._client if side is Side.CLIENT else self._server)(kind, rest)
        if raw is None:
            raise ValueError(f"no such message: {kind}")
        return raw

    def _client(self, kind: str, rest: list[str]) -> bytes | None:
        if kind in PACKETS:
            self.ssl = kind != "CancelRequest"
            body = struct.pack(">I", PACKETS[kind]) + b"".join(map(tokens.value, rest))
            return struct.pack(">I", len(body) + 4) + body
        if kind == "Startup":
            body = struct.pack(">I", 3 << 16) + pairs(rest) + b"\0"
            return struct.pack(">I", len(body) + 4) + body
        if kind in BARE_CLIENT:
            return frame(BARE_CLIENT[kind])
        if kind in TEXT_CLIENT:
            return frame(TEXT_CLIENT[kind], zero(tokens.value(rest[0])))
        if kind == "Parse":
            return frame("P", zero(name(rest[0]), tokens.value(rest[1])) + b"\0\0")
        if kind == "Bind":
            body = zero(name(rest[0]), name(rest[1])) + b"\0\0" + values(rest[2:]) + b"\0\0"
            return frame("B", body)
        if kind == "Execute":
            rows = int(rest[1]) if len(rest) > 1 else 0
            return frame("E", zero(name(rest[0])) + struct.pack(">I", rows))
        if kind in ("Describe", "Close"):
            return frame(kind[0], rest[0].encode() + zero(name(rest[1])))
        if kind == "CopyData":
            return frame("d", tokens.value(rest[0]))
        return None

    def _server(self, kind: str, rest: list[str]) -> bytes | None:
        if kind in BARE_SERVER:
            return frame(BARE_SERVER[kind])
        if kind in TEXT_SERVER:
            return frame(TEXT_SERVER[kind], zero(tokens.value(rest[0])))
        if kind.startswith("Authentication"):
            return frame("R", self._authentication(kind.removeprefix("Authentication")))
        if kind == "SSLAnswer":
            return rest[0].encode()
        if kind == "ParameterStatus":
            return frame("S", pairs(rest))
        if kind == "BackendKeyData":
            return frame("K", tokens.value(rest[0]))
        if kind == "ReadyForQuery":
            return frame("Z", rest[0].encode())
        if kind == "RowDescription":
            body = struct.pack(">H", len(rest))
            for word in rest:
                # name@16400.2: the second column of the table 16400
                text, _, origin = word.partition("@")
                table, _, place = origin.partition(".")
                body += zero(text.encode()) + struct.pack(
                    ">IhIhih", int(table or 0), int(place or 0), 25, -1, -1, 0
                )
            return frame("T", body)
        if kind == "DataRow":
            return frame("D", values(rest))
        if kind == "ErrorResponse":
            severity, code, text = map(tokens.value, rest)
            return report("E", severity, code, text)
        if kind == "NoticeResponse":
            return report("N", b"NOTICE", b"00000", tokens.value(rest[0]))
        if kind == "RefusedError":
            text = b'syntax error at or near "' + self.refused.pop(0) + b'"'
            return report("E", b"ERROR", b"42601", text)
        if kind == "ParameterDescription":
            return frame("t", struct.pack(f">H{len(rest)}I", len(rest), *map(int, rest)))
        if kind in ("CopyInResponse", "CopyOutResponse"):
            columns = int(rest[0])
            body = b"\0" + struct.pack(f">H{columns}H", columns, *[0] * columns)
            return frame("G" if kind == "CopyInResponse" else "H", body)
        if kind == "CopyData":
            return frame("d", tokens.value(rest[0]))
        if kind == "NotificationResponse":
            body = struct.pack(">I", 1) + zero(*map(tokens.value, rest))
            return frame("A", body)
        return None

    def _authentication(self, kind: str) -> bytes:
        plain = {"Ok": 0, "CleartextPassword": 3}
        if kind in plain:
            return struct.pack(">I", plain[kind])
        if kind == "MD5Password":
            return struct.pack(">I", 5) + b"salt"
        if kind == "SASL":
            return struct.pack(">I", 10) + zero(b"SCRAM-SHA-256") + b"\0"
        if kind == "SASLContinue":
            self.scram = ScramServer(make_verifier(self.credential, b"salt"), b"theirs")
            mechanism, _, rest = self.last[5:].partition(b"\0")
            return struct.pack(">I", 11) + self.scram.challenge(mechanism.decode(), rest[4:])
        if kind == "SASLFinal":
            assert self.scram is not None
            return struct.pack(">I", 12) + self.scram.check(self.last[5:])
        raise ValueError(f"no such authentication: {kind}")

    # -- from bytes to words ----------------------------------------------

    def describe(self, side: Side, raw: bytes) -> tuple[str, int]:
        if side is Side.CLIENT and self.ssl and raw[:1] in b"SN" and raw[1:5] != b"\0\0\0":
            self.ssl = False
            return f"SSLAnswer {raw[:1].decode()}", 1
        if side is Side.UPSTREAM and raw[0] == 0:
            (size,) = struct.unpack_from(">I", raw)
            return self._packet(raw[4:size]), size
        kind = chr(raw[0])
        (size,) = struct.unpack_from(">I", raw, 1)
        body = raw[5 : 1 + size]
        if len(body) != size - 4:
            return f"torn {tokens.quote(raw)}", len(raw)
        if side is Side.UPSTREAM:
            self.last = raw[: 1 + size]
            return self._to_server(kind, body), 1 + size
        return self._to_client(kind, body), 1 + size

    def _packet(self, body: bytes) -> str:
        (code,) = struct.unpack_from(">I", body)
        for packet, number in PACKETS.items():
            if code == number:
                return f"{packet} {tokens.quote(body[4:])}" if body[4:] else packet
        words = body[4:].rstrip(b"\0").split(b"\0")
        both = zip(words[::2], words[1::2], strict=True)
        return "Startup " + " ".join(f"{k.decode()}={v.decode()}" for k, v in both)

    def _to_server(self, kind: str, body: bytes) -> str:
        q = tokens.quote
        if kind in "QP" and REFUSED in body[:80]:
            at = body.index(REFUSED)
            self.refused.append(body[at : at + len(REFUSED) + 32])
            return "RefusedQuery" if kind == "Q" else "RefusedParse"
        if kind == "p":
            if self.credential and self.credential in body:
                return f"Password {q(body[:-1])}"
            return "SASLInitialResponse" if body.startswith(b"SCRAM") else "SASLResponse"
        if kind in "QfSHXc":
            found = NAMES_CLIENT[kind]
            return f"{found} {q(body[:-1])}" if found in TEXT_CLIENT else found
        if kind == "d":
            return f"CopyData {q(body)}"
        words = body.split(b"\0")
        if kind == "P":
            return f"Parse {_name(words[0])} {q(words[1])}"
        if kind == "E":
            (rows,) = struct.unpack_from(">I", body, len(words[0]) + 1)
            return f"Execute {_name(words[0])}" + (f" {rows}" if rows else "")
        if kind in "DC":
            what = "Describe" if kind == "D" else "Close"
            return f"{what} {body[:1].decode()} {_name(body[1:-1])}"
        assert kind == "B", kind
        start = len(words[0]) + len(words[1]) + 2
        return f"Bind {_name(words[0])} {_name(words[1])} {_values(body[start + 2 :])}".rstrip()

    def _to_client(self, kind: str, body: bytes) -> str:
        q = tokens.quote
        if kind in NAMES_SERVER:
            found = NAMES_SERVER[kind]
            return f"{found} {q(body[:-1])}" if found in TEXT_SERVER else found
        if kind == "R":
            (code,) = struct.unpack_from(">I", body)
            known = {0: "Ok", 3: "CleartextPassword", 10: "SASL", 11: "SASLContinue"}
            return "Authentication" + known.get(code, "SASLFinal")
        if kind == "S":
            return "ParameterStatus " + "=".join(w.decode() for w in body[:-1].split(b"\0"))
        if kind == "K":
            return f"BackendKeyData {q(body)}"
        if kind == "Z":
            return f"ReadyForQuery {body.decode()}"
        if kind == "D":
            return f"DataRow {_values(body)}".rstrip()
        if kind == "d":
            return f"CopyData {q(body)}"
        if kind in "EN":
            fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
            text = q(fields[b"M"])
            if kind == "N":
                return f"NoticeResponse {text}"
            return f"ErrorResponse {fields[b'S'].decode()} {fields[b'C'].decode()} {text}"
        if kind == "T":
            words, at = [], 2
            while at < len(body):
                end = body.index(b"\0", at)
                table, place = struct.unpack_from(">Ih", body, end + 1)
                words.append(body[at:end].decode() + (f"@{table}.{place}" if table else ""))
                at = end + 19
            return "RowDescription " + " ".join(words)
        if kind in "GH":
            what = "CopyInResponse" if kind == "G" else "CopyOutResponse"
            return f"{what} {int.from_bytes(body[1:3], 'big')}"
        if kind == "t":
            (count,) = struct.unpack_from(">H", body)
            oids = struct.unpack_from(f">{count}I", body, 2)
            return " ".join(["ParameterDescription", *map(str, oids)])
        if kind == "A":
            return "NotificationResponse " + " ".join(map(q, body[4:-1].split(b"\0")))
        return f"{kind} {q(body)}"


def _name(raw: bytes) -> str:
    return raw.decode() or "-"


def _values(body: bytes) -> str:
    (count,) = struct.unpack_from(">H", body)
    out, at = [], 2
    for _ in range(count):
        (size,) = struct.unpack_from(">i", body, at)
        at += 4
        out.append("NULL" if size < 0 else tokens.quote(body[at : at + size]))
        at += max(0, size)
    return " ".join(out)
