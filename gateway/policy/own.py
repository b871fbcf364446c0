"""Finds the gateway's own secrets in what goes to a client, always.

Each secret is looked for in nine encodings: raw; as a JSON string; with
percent signs (upper or lower case digits, plus for a space); in an SQL
literal (quotes doubled); in HTML; in hexadecimal, lower and upper case; and in base64
with either alphabet, at each of the three offsets at which it can lie within a longer
text.  Not found: a secret that is split, reversed, compressed, or broken by
line ends within base64.

A secret is found wherever its bytes stand: one that is also an ordinary word
(``postgres``) masks that word.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote_from_bytes, quote_plus

from gateway.policy.scan import engine, merge
from protocols.contract import Screen

OWN_MIN: Final = 6
"""Bytes. What is shorter stands in ordinary data by chance."""

_LOWER_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")

_Encode = Callable[[bytes], Iterable[bytes]]


def _text(secret: bytes) -> str | None:
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return None


def _json(secret: bytes) -> Iterator[bytes]:
    text = _text(secret)
    if text is not None:
        for ascii_only in (True, False):
            quoted = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield quoted.encode()
            yield quoted.replace("/", "\\/").encode()


def _percent(secret: bytes) -> Iterator[bytes]:
    for quoted in (quote_from_bytes(secret, ""), quote_from_bytes(secret), quote_plus(secret)):
        yield quoted.encode()


def _percent_lower(secret: bytes) -> Iterator[bytes]:
    for quoted in _percent(secret):
        yield _LOWER_PERCENT.sub(lambda m: m[0].lower(), quoted.decode()).encode()


def _html(secret: bytes) -> Iterator[bytes]:
    text = _text(secret)
    if text is not None:
        yield html.escape(text).encode()
        yield html.escape(text, quote=False).encode()


def _base64(secret: bytes) -> Iterator[bytes]:
    """The characters that depend on no byte but the secret's."""
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + secret)
        first = (0, 2, 3)[offset]
        inner = whole[first : (offset + len(secret)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


ENCODINGS: Final[dict[str, _Encode]] = {
    "raw": lambda secret: (secret,),
    "json": _json,
    "percent": _percent,
    "percent-lower": _percent_lower,
    "sql": lambda secret: (secret.replace(b"'", b"''"),),
    "html": _html,
    "hex": lambda secret: (secret.hex().encode(),),
    "hex-upper": lambda secret: (secret.hex().upper().encode(),),
    "base64": _base64,
}


def own_screen(secrets: Iterable[bytes], plain: bool = False) -> Screen | None:
    """A screen for ``secrets``, or None when there are none.

    ``ValueError`` (which quotes no secret) when one is shorter than
    ``OWN_MIN`` bytes: it could not be told from ordinary data, so the start
    fails and the operator chooses a longer one.  ``reach`` is the longest
    encoding.  ``plain`` does without hyperscan, at the cost of one pass per
    needle. (64 KiB without hits: hyperscan 4.4 GB/s with one secret and 2.5
    with 1,000; one ``find`` per needle 0.9 GB/s with one secret, 80 MB/s with
    10. So hyperscan is used from the first secret on.)

    A screen keeps scratch memory: use it from one thread at a time.
    """
    known = sorted(set(secrets))
    if not known:
        return None
    # A needle is widened by one byte to each side where base64 shares a
    # character with the neighbouring bytes: that character shows some bits.
    needles: dict[bytes, int] = {}
    for number, secret in enumerate(known, 1):
        if len(secret) < OWN_MIN:
            raise ValueError(
                f"secret {number} of {len(known)} has {len(secret)} bytes; it takes at least"
                f" {OWN_MIN} to find a secret in results"
            )
        for name, encode in ENCODINGS.items():
            for needle in encode(secret):
                needles[needle] = max(needles.get(needle, 0), int(name == "base64"))
    reach = max(len(needle) + 2 * widen for needle, widen in needles.items())
    if plain or engine is None:
        return Screen(_Plain(needles).spans, reach, tuple(needles))
    return Screen(_Fast(needles).spans, reach, tuple(needles))


class _Fast:
    """All needles in one hyperscan database."""

    __slots__ = ("_database", "_lengths")

    def __init__(self, needles: dict[bytes, int]) -> None:
        self._lengths = [(len(needle), widen) for needle, widen in needles.items()]
        self._database: Any = engine.Database(mode=engine.HS_MODE_BLOCK)
        self._database.compile(
            # Escaped byte for byte, since a secret may hold any byte.
            expressions=[b"".join(b"\\x%02x" % byte for byte in needle) for needle in needles],
            ids=list(range(len(needles))),
            flags=[engine.HS_FLAG_DOTALL] * len(needles),
        )

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        self._database.scan(data, match_event_handler=self._on_match, context=(found, len(data)))
        return merge(found) if found else found

    def _on_match(
        self, number: int, start: int, end: int, flags: int, scan: tuple[list[tuple[int, int]], int]
    ) -> None:
        length, widen = self._lengths[number]
        found, size = scan
        found.append((max(0, end - length - widen), min(size, end + widen)))


class _Plain:
    """One search per needle."""

    __slots__ = ("_needles",)

    def __init__(self, needles: dict[bytes, int]) -> None:
        self._needles = list(needles.items())

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for needle, widen in self._needles:
            at = data.find(needle)
            while at >= 0:
                end = at + len(needle)
                found.append((max(0, at - widen), min(len(data), end + widen)))
                at = data.find(needle, at + 1)
        return merge(found)
