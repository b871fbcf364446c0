"""How a mask applies to a value of a PostgreSQL type, in either form.

The promise to the client is that what it gets still parses as the announced
type: where the type cannot hold the mask's text, the type's neutral value is
shown (0, 1970-01-01, empty), and NULL where the type has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import EllipsisType
from typing import Final, TypeAlias

from protocols.contract import Mask
from protocols.postgres import arrays, scalars
from protocols.postgres.fields import BINARY
from protocols.postgres.kinds import BUILTIN, UNKNOWN, Kind, Shape

Change: TypeAlias = Callable[[bytes], "bytes | None"]
Action: TypeAlias = "bytes | EllipsisType | Change | None"
"""What becomes of a column's values that are not NULL: None passes them,
bytes replace every one, ``...`` makes every one NULL, a function maps them."""

_CONSTANT: Final = frozenset({"redact", "null"})
"""Masks that by the rule language's definition do not look at the value."""
_NO_VALUE: Final = frozenset({"keep-last", "partial-email"})
"""Masks that show text with stars or brackets in it, which no kind with a
neutral value holds in either form: its neutral value is all they ever show."""
_PROBES: Final = (b"", b"a", b"Person@example.org", b"4111 1111 1111 1111", b"\xff\0")


def apply(
    mask: Mask,
    value: bytes,
    type_oid: int,
    form: int,
    shapes: Mapping[int, Shape] | None = None,
) -> bytes | None:
    """``value`` (not NULL) of the type ``type_oid`` in the given form as
    ``mask`` shows it; None is NULL. ``shapes`` are types beyond the built-in
    ones; a type that is in neither is shown as NULL."""
    done = action(mask, shape_of(type_oid, shapes), form)
    if done is None or isinstance(done, bytes):
        return done
    return None if isinstance(done, EllipsisType) else done(value)


def shape_of(type_oid: int, shapes: Mapping[int, Shape] | None = None) -> Shape:
    """The shape of a type; ``UNKNOWN`` when it is not known."""
    if type_oid in BUILTIN:
        return BUILTIN[type_oid][1]
    return shapes.get(type_oid, UNKNOWN) if shapes else UNKNOWN


@lru_cache(maxsize=1024)
def action(mask: Mask, shape: Shape, form: int) -> Action:
    """``mask`` on a column of this shape and form. Never None. Remembered, for
    the same few masks come with every result."""
    if shape.kind is Kind.OTHER or (shape.kind is Kind.LABEL and form == BINARY):
        return ...
    change = _scalar(mask.apply, shape.kind, form)
    if not shape.element:
        if mask.name in _NO_VALUE and shape.kind in scalars.NEUTRAL:
            return scalars.NEUTRAL[shape.kind][form]
        if not _is_constant(mask):
            return change
        # What is shown comes from a probe alone, so it can hold nothing of
        # the result even if the mask did look at values.
        shown = change(scalars.NEUTRAL[shape.kind][form] if shape.kind in scalars.NEUTRAL else b"")
        return ... if shown is None else shown
    if mask.apply(b"") is None and _is_constant(mask):
        return ...
    element = shape.element
    if form == BINARY:
        return lambda value: arrays.change_binary(value, element, change)
    return lambda value: arrays.change_text(value, change)


def _is_constant(mask: Mask) -> bool:
    return mask.name in _CONSTANT and len({mask.apply(probe) for probe in _PROBES}) == 1


def _scalar(mask: Change, kind: Kind, form: int) -> Change:
    if kind is Kind.TEXT or kind is Kind.LABEL:
        return mask
    if kind is Kind.JSON or (kind is Kind.JSONB and form != BINARY):
        return lambda value: _quoted(mask(value))
    if kind is Kind.JSONB:

        def change_jsonb(value: bytes) -> bytes | None:
            shown = _quoted(mask(value[1:]))
            return None if shown is None else b"\1" + shown

        return change_jsonb
    neutral = scalars.NEUTRAL[kind][form]
    if form == BINARY:

        def change_binary(value: bytes) -> bytes | None:
            text = scalars.decode(kind, value)
            shown = mask(b"" if text is None else text)
            if shown is None:
                return None
            packed = None if text is None else scalars.encode(kind, shown)
            return neutral if packed is None else packed

        return change_binary

    def change_text(value: bytes) -> bytes | None:
        shown = mask(value)
        return shown if shown is None or scalars.parses(kind, shown) else neutral

    return change_text


def _quoted(shown: bytes | None) -> bytes | None:
    """``shown`` as a JSON string; JSON's null when it is not UTF-8."""
    if shown is None:
        return None
    try:
        return json.dumps(shown.decode()).encode()
    except UnicodeDecodeError:
        return b"null"
