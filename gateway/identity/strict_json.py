"""JSON with one meaning: no name twice in an object, no NaN or Infinity, no
number that overflows to one. Two readers of such a text can't disagree."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class DuplicateKey(ValueError):
    """An object names a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise DuplicateKey("an object names a key twice")
    return out


def _constant(word: str) -> NoReturn:
    raise ValueError("a number that is not finite")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


class StrictDecoder(json.JSONDecoder):
    """The decoder class, for libraries that take one."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def loads(text: str) -> Any:
    """The value of ``text``. ValueError (of which JSONDecodeError and
    DuplicateKey are kinds) or RecursionError when it is not strict JSON."""
    return StrictDecoder().decode(text)
