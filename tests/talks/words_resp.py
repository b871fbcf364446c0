"""RESP in words: a command is its words, a reply its line or its values."""

from __future__ import annotations

import tokens

from protocols.contract import Verifier
from protocols.wire import Side


class Words:
    """``server RefusedError`` is Redis' error for the last command of ours."""

    cancel_key = b""
    credential = b""

    def __init__(self) -> None:
        self.refused: list[bytes] = []

    def verifier(self, secret: bytes) -> Verifier:
        raise ValueError("RESP has no SCRAM")

    def encode(self, side: Side, words: list[str]) -> bytes:
        if side is Side.CLIENT:
            if words[0] == "inline":
                return b" ".join(map(tokens.value, words[1:])) + b"\r\n"
            if words[0] == "raw":
                return tokens.value(words[1])
            return array(words)
        kind = words[0]
        if kind == "RefusedError":
            return b"-ERR unknown command '" + self.refused.pop(0) + b"', with args\r\n"
        if kind == "raw":
            return tokens.value(words[1])
        if kind == "Bulk":
            return bulk(words[1])
        if kind in ("Array", "Push"):
            sign = b"*" if kind == "Array" else b">"
            return sign + b"%d\r\n" % (len(words) - 1) + b"".join(map(bulk, words[1:]))
        return tokens.value(words[0]) + b"\r\n"

    def describe(self, side: Side, raw: bytes) -> tuple[str, int]:
        end = raw.index(b"\r\n") + 2
        line = raw[: end - 2]
        if line[:1] == b"$":
            size = int(line[1:])
            return (f"Bulk {tokens.quote(raw[end : end + size])}", end + size + 2)
        if line[:1] in (b"*", b">"):
            words = []
            at = end
            for _ in range(int(line[1:])):
                stop = raw.index(b"\r\n", at) + 2
                size = int(raw[at + 1 : stop - 2])
                words.append(raw[stop : stop + size])
                at = stop + size + 2
            if words and words[0].startswith(b"wirewarden_"):
                self.refused.append(words[0])
                return "Refused", at
            if side is Side.UPSTREAM:
                return " ".join(map(_bare, words)), at
            kind = "Array" if line[:1] == b"*" else "Push"
            return " ".join([kind, *map(tokens.quote, words)]), at
        if side is Side.UPSTREAM:
            return "inline " + " ".join(map(_bare, line.split())), end
        return tokens.quote(line), end


def _bare(word: bytes) -> str:
    text = word.decode("latin-1")
    return text if text.isalnum() and text.isascii() else tokens.quote(word)


def bulk(token: str) -> bytes:
    raw = tokens.value(token)
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def array(words: list[str]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))
