"""One line of a talk as tokens: bare words, and quoted ones with escapes."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s"]+)')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}


def split(line: str) -> list[str]:
    """Tokens as they are written; ValueError when the line is not made of them."""
    out, at, line = [], 0, line.strip()
    while at < len(line):
        found = _TOKEN.match(line, at)
        if found is None:
            raise ValueError(f"what is this: {line[at:]!r}")
        out.append(found[1])
        at = found.end()
    return out


def value(token: str) -> bytes:
    """The bytes behind a token."""
    raw = token.encode()
    if not token.startswith('"'):
        return raw

    def one(found: re.Match[bytes]) -> bytes:
        sign = found[1]
        if len(sign) == 3:
            return bytes([int(sign[1:], 16)])
        return _NAMED.get(sign, sign)

    return _ESCAPE.sub(one, raw[1:-1])


def quote(raw: bytes) -> str:
    """The quoted token for ``raw``, always the same for the same bytes."""
    out = []
    named = {v[0]: k.decode() for k, v in _NAMED.items()}
    for byte in raw:
        if byte in named:
            out.append("\\" + named[byte])
        elif byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            out.append(chr(byte))
        else:
            out.append(f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def normal(line: str) -> str:
    """The line with one way of writing for each token."""
    return " ".join(quote(value(t)) if t.startswith('"') else t for t in split(line))
