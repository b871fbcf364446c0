"""Mask functions: what is shown in place of one value of a result.

Every function takes a value's text form as bytes and returns the bytes to
show, or None for NULL.  They never raise on a value, whatever its bytes are:
a value that cannot be understood (not UTF-8, not an address) is redacted
whole, so every guess errs towards showing less.

What is here is the reference. Where ``protocols/_masks.c`` was built, ``build``
gives some of the masks as objects that do the same in C, and that the loops
over rows call without an object for each value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from protocols.compiled import part

Apply: TypeAlias = Callable[[bytes], "bytes | None"]

REDACTED: Final = b"[redacted]"
HASH_DIGITS: Final = 16
HASH_KEY_MIN: Final = 16
"""Bytes. A shorter key lets anyone with the result guess values offline."""
KEEP_MAX: Final = 64
TEXT_MAX: Final = 200

MASKS: Final[Mapping[str, Mapping[str, type]]] = MappingProxyType(
    {
        "redact": MappingProxyType({"text": str}),
        "keep-last": MappingProxyType({"n": int}),
        "hash": MappingProxyType({}),
        "null": MappingProxyType({}),
        "fixed-format": MappingProxyType({}),
        "partial-email": MappingProxyType({}),
    }
)
"""The rule language's mask words, each with its arguments and their types.
All arguments are optional: ``text`` is ``[redacted]``, ``n`` is 4."""


_native = part("protocols._masks")
COMPILED: Final = _native is not None


def build(name: str, args: Mapping[str, object], key: bytes = b"") -> Apply:
    """The mask ``name`` with ``args``, as a function on one value.

    ``key`` (at least 16 bytes) is used by ``hash`` only; the same key gives
    the same digest for the same value, so joins on masked columns still work.
    ``ValueError`` names what is wrong with the name, an argument or the key.
    """
    spec = MASKS.get(name)
    if spec is None:
        raise ValueError(f"unknown mask {name!r}; known: {', '.join(sorted(MASKS))}")
    for arg, value in args.items():
        if arg not in spec:
            takes = ", ".join(sorted(spec)) or "no arguments"
            raise ValueError(f"mask {name!r} has no argument {arg!r}; it takes {takes}")
        # bool is an int to isinstance, and never what `n = true` means.
        if type(value) is not spec[arg]:
            raise ValueError(f"mask {name!r}: {arg} must be of type {spec[arg].__name__}")
    if name == "redact":
        return _redact(str(args.get("text", REDACTED.decode())))
    if name == "keep-last":
        n = args.get("n", 4)
        assert isinstance(n, int)
        keep_last = _keep_last(n)
        return keep_last if _native is None else _native.keep_last(keep_last, n)
    if name == "hash":
        return _hash(key)
    if name == "null":
        return _null
    if name == "fixed-format":
        return _fixed_format if _native is None else _native.translated(_SHAPE, _CONTINUATION)
    return _partial_email if _native is None else _native.partial_email(_partial_email)


def _redact(text: str) -> Apply:
    if len(text) > TEXT_MAX or "\0" in text:
        raise ValueError(f"mask 'redact': text must be at most {TEXT_MAX} characters without NUL")
    try:
        shown = text.encode()
    except UnicodeEncodeError:
        raise ValueError("mask 'redact': text is not valid Unicode") from None

    def redact(value: bytes) -> bytes:
        return shown

    return redact


def _keep_last(n: int) -> Apply:
    if not 1 <= n <= KEEP_MAX:
        raise ValueError(f"mask 'keep-last': n must be between 1 and {KEEP_MAX}")

    def keep_last(value: bytes) -> bytes:
        if len(value) <= n:
            return REDACTED
        if value.isascii():
            return b"****" + value[-n:]
        # Whole characters only. Bytes that are not UTF-8 could be any
        # encoding, where n bytes may be more than n characters: show none.
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return REDACTED
        return REDACTED if len(text) <= n else b"****" + text[-n:].encode()

    return keep_last


_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def _hash(key: bytes) -> Apply:
    if len(key) < HASH_KEY_MIN:
        raise ValueError(f"mask 'hash' needs a key of at least {HASH_KEY_MIN} bytes")
    # HMAC (RFC 2104) with both padded keys hashed once: hmac.digest sets up
    # a context of OpenSSL's for each value, which costs nine times as much.
    block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(block.translate(_INNER)).copy
    outer = hashlib.sha256(block.translate(_OUTER)).copy

    def keyed_hash(value: bytes) -> bytes:
        first = inner()
        first.update(value)
        second = outer()
        second.update(first.digest())
        return second.hexdigest()[:HASH_DIGITS].encode()

    return keyed_hash


def _null(value: bytes) -> bytes | None:
    return None


def _shape() -> bytes:
    table = bytearray(b"x" * 256)
    for byte in range(0x20, 0x7F):
        shown = chr(byte)
        table[byte] = ord("0") if shown.isdigit() else ord("x") if shown.isalpha() else byte
    for byte in b"\t\n\r":
        table[byte] = byte
    return bytes(table)


_SHAPE: Final = _shape()
_CONTINUATION: Final = bytes(range(0x80, 0xC0))


def _fixed_format(value: bytes) -> bytes:
    # One x per non-ASCII character: its lead byte becomes x, the bytes that
    # continue it go. Bytes in another encoding become x or go as well.
    return value.translate(_SHAPE, _CONTINUATION)


_ADDRESS: Final = re.compile(rb"([^@\x00-\x20\x7f]+)@([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))")


def _partial_email(value: bytes) -> bytes:
    found = _ADDRESS.fullmatch(value)
    if found is None:
        return REDACTED
    try:
        local = found[1].decode()
    except UnicodeDecodeError:
        return REDACTED
    # The first character of a local part of one character is all of it.
    first = local[0].encode() if len(local) > 1 else b""
    return first + b"***@" + found[2]
