"""A command as one line of text, for people, rules and digests, and back.

The line is lossless up to ``SHOWN`` bytes per word; of a longer one it holds
the length and the SHA-256, so that two different commands never share a line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from protocols.contract import Part
from protocols.resp.verbs import part, unparsed

SHOWN: Final = 1024
_PLAIN: Final = re.compile(rb"[!#-&(-;=-\[\]-~][!#-&(-\[\]-~]*")
"""Printable ASCII without space, quotes and backslash; "<" starts a digest."""
_WORD: Final = re.compile(rb'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s"\\]+))(?=[ \t]|$)')
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)


def _quoted(word: bytes) -> str:
    return '"' + "".join(_SIGNS[byte] for byte in word) + '"'


_SIGNS: Final = [chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in range(256)]
_SIGNS[0x22], _SIGNS[0x5C] = '\\"', "\\\\"


def shown(words: Sequence[bytes]) -> str:
    """``words`` as one line of ASCII."""
    out = []
    for word in words:
        if len(word) > SHOWN:
            out.append(f"<{len(word)}:{hashlib.sha256(word).hexdigest()}>")
        else:
            out.append(word.decode("ascii") if _PLAIN.fullmatch(word) else _quoted(word))
    return " ".join(out)


def read(text: str) -> list[bytes] | None:
    """The words of a line, None when it is not one of ``shown``'s form."""
    raw = text.encode("utf-8", "surrogateescape").strip()
    out: list[bytes] = []
    at = 0
    while at < len(raw):
        found = _WORD.match(raw, at)
        if found is None:
            return None
        quoted, plain = found.groups()
        out.append(plain if quoted is None else _ESCAPE.sub(_sign, quoted))
        at = found.end()
    return out or None


def _sign(found: re.Match[bytes]) -> bytes:
    sign = found[1]
    return bytes.fromhex(sign[1:].decode("ascii")) if len(sign) == 3 else sign


def parts(text: str) -> tuple[Part, ...]:
    """What ``gateway explain`` judges."""
    words = read(text)
    return (unparsed("the line is not a list of words") if words is None else part(words),)
