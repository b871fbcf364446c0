"""Bytes that can't be printed."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn


class Sensitive:
    """A secret value. ``reveal()`` is the only way to the bytes.

    str, repr, format, pickle, copy, iteration and hashing give nothing away:
    they print a placeholder of fixed form (not even the length), or raise
    TypeError.  Comparison takes constant time.
    """

    __slots__ = ("_value",)
    __hash__: Final = None  # type: ignore[assignment]

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself. Call it at the place of use, keep no copy."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sensitive):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return "Sensitive(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret can't be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled or copied")

    def __iter__(self) -> NoReturn:
        raise TypeError("a secret can't be iterated")

    def __bytes__(self) -> NoReturn:
        raise TypeError("a secret needs reveal()")
