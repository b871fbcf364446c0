"""Arrays, element by element, in text and binary form.

https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO; the binary form
is that of ``array_send``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

Change: TypeAlias = Callable[[bytes], "bytes | None"]

_BOUNDS: Final = re.compile(rb"(?:\[[+-]?[0-9]{1,10}:[+-]?[0-9]{1,10}\]){1,6}=")
_TOKEN: Final = re.compile(rb'[{},]|"(?:[^"\\]|\\.)*"|(?:[^{},"\\]|\\.)+', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_PLAIN: Final = re.compile(rb'[^{},"\\\s]+')
_DEPTH: Final = 6
"""MAXDIM of the server."""
MOST: Final = 1 << 18
"""Elements of an array that is masked one by one: one in Python each, with everything else
waiting. What has more is shown as NULL."""


def change_text(value: bytes, change: Change) -> bytes | None:
    """The array ``value`` (text form) with ``change`` done to every element
    that is not NULL; None when it is not a well-formed array, or has more than ``MOST``
    elements."""
    out: list[bytes] = []
    start = count = 0
    bounds = _BOUNDS.match(value)
    if bounds:
        out.append(bounds[0])
        start = bounds.end()
    depth, at, expects = 0, start, True
    while at < len(value):
        found = _TOKEN.match(value, at)
        if found is None or (at > start and depth == 0):
            return None
        token = found[0]
        at = found.end()
        if token == b"{":
            depth += 1
            if not expects or depth > _DEPTH:
                return None
            out.append(token)
        elif token == b"}":
            depth -= 1
            if depth < 0 or (expects and out[-1] != b"{"):
                return None
            expects = False
            out.append(token)
        elif token == b",":
            if expects:
                return None
            expects = True
            out.append(token)
        else:
            count += 1
            if not expects or depth == 0 or count > MOST:
                return None
            expects = False
            out.append(_element(token, change))
    return b"".join(out) if depth == 0 and not expects else None


def _element(token: bytes, change: Change) -> bytes:
    if token[:1] == b'"':
        element = _ESCAPED.sub(rb"\1", token[1:-1])
    elif token.upper() == b"NULL":
        return token
    else:
        element = _ESCAPED.sub(rb"\1", token.strip())
    shown = change(element)
    if shown is None:
        return b"NULL"
    if _PLAIN.fullmatch(shown) and shown.upper() != b"NULL":
        return shown
    return b'"' + shown.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def elements(raw: bytes) -> list[tuple[int, int]] | None:
    """(start, end) of every element that is not NULL in the binary array
    ``raw``; None when it is not well-formed."""
    spans = _walk(raw)
    return None if spans is None else [span for span in spans if span[0] <= span[1]]


def change_binary(raw: bytes, element: int, change: Change) -> bytes | None:
    """As ``change_text``, for the binary form of an array whose elements are
    of type ``element``; an array of another type is not well-formed."""
    spans = _walk(raw, MOST)
    if spans is None or int.from_bytes(raw[8:12], "big") != element:
        return None
    ndim = int.from_bytes(raw[:4], "big")
    out: list[bytes] = []
    nulls = False
    for start, end in spans:
        shown = change(raw[start:end]) if start <= end else None
        if shown is None:
            nulls = True
            out.append(b"\xff\xff\xff\xff")
        else:
            out.append(len(shown).to_bytes(4, "big") + shown)
    head = raw[:4] + (b"\0\0\0\1" if nulls else bytes(4)) + raw[8 : 12 + 8 * ndim]
    return head + b"".join(out)


def _walk(raw: bytes, most: int | None = None) -> list[tuple[int, int]] | None:
    """The elements' spans; NULL is a span that ends before it starts."""
    size = len(raw)
    if size < 12:
        return None
    ndim = int.from_bytes(raw[:4], "big")
    at = 12 + 8 * ndim
    if ndim > _DEPTH or at > size:
        return None
    count = 1 if ndim else 0
    for dim in range(ndim):
        count *= int.from_bytes(raw[12 + 8 * dim : 16 + 8 * dim], "big")
    # Every element has four bytes of length: a bigger count is a lie.
    if count > (size - at) // 4 or (most is not None and count > most):
        return None
    spans: list[tuple[int, int]] = []
    for _ in range(count):
        if at + 4 > size:
            return None
        (length,) = struct.unpack_from(">i", raw, at)
        at += 4
        if length < -1 or at + max(length, 0) > size:
            return None
        spans.append((at, at + length))
        at += max(length, 0)
    return spans if at == size else None
