"""Messages of the startup phase: builders and strict parsers.

Formats: PostgreSQL manual, chapter "Message Formats". Parsers name the guilty
side and never quote what they could not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocols.contract import Refuse
from protocols.errors import WireError
from protocols.wire import Side

V3 = 3 << 16
CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSS_CODE = 80877104

AUTH_OK = 0
AUTH_CLEARTEXT = 3
AUTH_MD5 = 5
AUTH_SASL = 10
AUTH_SASL_CONTINUE = 11
AUTH_SASL_FINAL = 12

SQLSTATES = {
    "policy": "42501",
    "identity": "28P01",
    "target": "3D000",
    "busy": "53300",
    "recorder": "53100",
    "shutdown": "57P01",
    "upstream": "08006",
}
"""The SQLSTATE of each kind of ``Refuse``."""


def frame(kind: bytes, payload: bytes) -> bytes:
    """A whole message: type byte, length, payload."""
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def packet(code: int, payload: bytes = b"") -> bytes:
    """A whole packet without a type byte."""
    return (len(payload) + 8).to_bytes(4, "big") + code.to_bytes(4, "big") + payload


SSL_REQUEST = packet(SSL_CODE)


def startup(parameters: Mapping[str, str]) -> bytes:
    """StartupMessage of protocol 3.0."""
    body = bytearray()
    for name, value in parameters.items():
        for word in (name, value):
            if "\0" in word:
                raise ValueError("a startup parameter with a NUL")
            body += word.encode("utf-8", "surrogateescape") + b"\0"
    return packet(V3, bytes(body) + b"\0")


def cancel_request(key: bytes) -> bytes:
    """``key``: process id (4 bytes) and secret, as in BackendKeyData."""
    return packet(CANCEL_CODE, key)


def authentication(code: int, data: bytes = b"") -> bytes:
    return frame(b"R", code.to_bytes(4, "big") + data)


def sasl_offer(mechanisms: Iterable[str]) -> bytes:
    return authentication(AUTH_SASL, b"".join(m.encode() + b"\0" for m in mechanisms) + b"\0")


def sasl_initial(mechanism: str, data: bytes) -> bytes:
    return frame(b"p", mechanism.encode() + b"\0" + len(data).to_bytes(4, "big") + data)


def negotiate(minor: int, options: Iterable[str]) -> bytes:
    """NegotiateProtocolVersion. The server puts the whole version there, not
    the minor number alone as its manual once said, and libpq reads it so."""
    names = [o.encode("utf-8", "surrogateescape") + b"\0" for o in options]
    head = (V3 | minor).to_bytes(4, "big") + len(names).to_bytes(4, "big")
    return frame(b"v", head + b"".join(names))


def report(
    kind: bytes, severity: str, code: str, message: str, *, detail: str = "", hint: str = ""
) -> bytes:
    """ErrorResponse (``kind`` b"E") or NoticeResponse (b"N")."""
    body = bytearray()
    fields = (("S", severity), ("V", severity), ("C", code), ("M", message))
    for mark, text in (*fields, ("D", detail), ("H", hint)):
        if text:
            body += mark.encode() + text.replace("\0", "").encode("utf-8", "backslashreplace")
            body += b"\0"
    return frame(kind, bytes(body) + b"\0")


def fatal(code: str, message: str, detail: str = "", hint: str = "") -> bytes:
    return report(b"E", "FATAL", code, message, detail=detail, hint=hint)


def refusal(refuse: Refuse, session: str) -> bytes:
    """The FATAL ErrorResponse that ends a session with ``refuse``."""
    return fatal(
        SQLSTATES.get(refuse.kind, SQLSTATES["policy"]),
        refuse.reason or "the gateway refused the session",
        f"Rule: {refuse.rule}" if refuse.rule else "",
        f"Gateway session {session}.",
    )


def parse_fields(payload: bytes, side: Side) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter.

    ``C`` must be a well-formed SQLSTATE, and ``M`` must be there (THREATS row
    66: a server that sends neither is not one to go on with).
    """
    fields: dict[str, str] = {}
    if payload[-2:] != b"\0\0":
        raise WireError(side, "an error message without an end", "08P01")
    for field in payload[:-2].split(b"\0"):
        if not field:
            raise WireError(side, "an error message with an empty field", "08P01")
        # Unknown letters are legal. Lossless, so that nothing is hidden by it.
        fields[chr(field[0])] = field[1:].decode("utf-8", "surrogateescape")
    code = fields.get("C", "")
    if len(code) != 5 or not (code.isascii() and code.isalnum()) or "M" not in fields:
        raise WireError(side, "an error message without SQLSTATE or text", "08P01")
    return fields


def parse_authentication(payload: bytes) -> tuple[int, bytes]:
    """Code and data of an Authentication message of the upstream."""
    if len(payload) < 4:
        raise WireError(Side.UPSTREAM, "an authentication request that is too short", "08P01")
    code, data = int.from_bytes(payload[:4], "big"), payload[4:]
    if (code in (AUTH_OK, AUTH_CLEARTEXT) and data) or (code == AUTH_MD5 and len(data) != 4):
        raise WireError(Side.UPSTREAM, "an authentication request of a wrong length", "08P01")
    return code, data


def parse_mechanisms(data: bytes) -> tuple[str, ...]:
    """The mechanisms that an AuthenticationSASL offers."""
    if not data.isascii() or data[-2:] != b"\0\0" or b"\0\0" in data[:-2]:
        raise WireError(Side.UPSTREAM, "a malformed list of SASL mechanisms", "08P01")
    return tuple(word.decode("ascii") for word in data[:-2].split(b"\0"))


def parse_sasl_initial(payload: bytes) -> tuple[str, bytes]:
    """Mechanism and first message of a client's SASLInitialResponse."""
    name, nul, rest = payload.partition(b"\0")
    # A length of -1 (no first message) is legal SASL, and no SCRAM client sends it.
    if not (nul and name.isascii() and len(rest) >= 4):
        raise WireError(Side.CLIENT, "a malformed SASL response", "08P01")
    if int.from_bytes(rest[:4], "big") != len(rest) - 4:
        raise WireError(Side.CLIENT, "a SASL response of a wrong length", "08P01")
    return name.decode("ascii"), rest[4:]


def parse_password(payload: bytes) -> bytes:
    """The secret of a PasswordMessage: one string, its NUL at the very end."""
    if payload[-1:] != b"\0" or b"\0" in payload[:-1]:
        raise WireError(Side.CLIENT, "a malformed password message", "08P01")
    return payload[:-1]


def parse_status(payload: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus."""
    words = payload.split(b"\0")
    if len(words) != 3 or words[2] or not words[0]:
        raise WireError(Side.UPSTREAM, "a malformed parameter status", "08P01")
    return (
        words[0].decode("utf-8", "surrogateescape"),
        words[1].decode("utf-8", "surrogateescape"),
    )


def parse_startup(body: bytes) -> list[tuple[str, str]]:
    """Names and values of a startup packet, in order; ``body`` follows the
    version. Names and values must be UTF-8, the end must be the end."""
    if body == b"\0":
        return []
    if body[-2:] != b"\0\0":
        raise WireError(Side.CLIENT, "a startup packet without an end", "08P01")
    words = body[:-2].split(b"\0")
    if len(words) % 2:
        raise WireError(Side.CLIENT, "a startup parameter without a value", "08P01")
    try:
        texts = [word.decode("utf-8") for word in words]
    except UnicodeDecodeError:
        raise WireError(Side.CLIENT, "a startup packet that is not UTF-8", "08P01") from None
    if "" in texts[::2]:
        raise WireError(Side.CLIENT, "bytes behind the end of the startup packet", "08P01")
    return list(zip(texts[::2], texts[1::2], strict=True))
