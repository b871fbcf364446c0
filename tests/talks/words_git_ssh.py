"""git over SSH in words: a frame is its kind and its body; DATA is its pkt-lines.

data pkt "want 111" flush      pkt-lines, and the special ones: flush, delim, end
data "PACK..."                 bytes as they are
exit 1                         the exit status
"""

from __future__ import annotations

import tokens

from protocols.contract import Verifier
from protocols.git.pktline import DELIM, END, FLUSH, pkt
from protocols.ssh.frames import HEADER, Kind, frame
from protocols.wire import Side

_SPECIAL = {"flush": FLUSH, "delim": DELIM, "end": END}
_NAMES = {raw: name for name, raw in _SPECIAL.items()}


class Words:
    cancel_key = b""
    credential = b""

    def verifier(self, secret: bytes) -> Verifier:
        raise ValueError("SSH has no SCRAM")

    def encode(self, side: Side, words: list[str]) -> bytes:
        kind, rest = Kind[words[0].upper()], words[1:]
        if kind is Kind.DATA:
            return frame(kind, _stream(rest))
        if kind is Kind.EXIT:
            return frame(kind, int(rest[0]).to_bytes(4, "big"))
        return frame(kind, tokens.value(rest[0]) if rest else b"")

    def describe(self, side: Side, raw: bytes) -> tuple[str, int]:
        kind = Kind(raw[0])
        end = HEADER + int.from_bytes(raw[1:HEADER], "big")
        body = raw[HEADER:end]
        name = kind.name.lower()
        if kind is Kind.LOGIN:
            return name, end
        if kind is Kind.DATA:
            return f"{name} {_words(body)}", end
        if kind is Kind.EXIT:
            return f"{name} {int.from_bytes(body, 'big')}", end
        return f"{name} {tokens.quote(body)}" if body else name, end


def _stream(words: list[str]) -> bytes:
    out, rest = b"", list(words)
    while rest:
        word = rest.pop(0)
        if word == "pkt":
            out += pkt(tokens.value(rest.pop(0)))
        else:
            out += _SPECIAL.get(word) or tokens.value(word)
    return out


def _words(body: bytes) -> str:
    """Pkt-lines where it is made of them, else the bytes."""
    out, at = [], 0
    while at < len(body):
        head = body[at : at + 4]
        if head in _NAMES:
            out.append(_NAMES[head])
            at += 4
            continue
        try:
            size = int(head, 16)
        except ValueError:
            return tokens.quote(body)
        if size < 4 or at + size > len(body):
            return tokens.quote(body)
        out.append(f"pkt {tokens.quote(body[at + 4 : at + size])}")
        at += size
    return " ".join(out)
