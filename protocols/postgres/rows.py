"""Masks the rows of a result."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from protocols.contract import Plan, Screen
from protocols.errors import WireError
from protocols.postgres import rowloop
from protocols.postgres.blanks import Blank, Look, Scan, blank, scan_of
from protocols.postgres.catalog import shapes
from protocols.postgres.fields import Field
from protocols.postgres.runs import native
from protocols.postgres.values import Action, action, shape_of
from protocols.wire import Side

COMPILED: Final = native is not None
"""Whether the loops over rows run in C. If not, rowloop.py is used: the same, slower."""

_MaskRows: TypeAlias = "Callable[[bytes, tuple[Action, ...]], tuple[bytes, tuple[int, ...]]]"
mask_rows: _MaskRows = native.mask_rows if native else rowloop.mask_rows
gather: Callable[[bytes, bytes], tuple[bytes, bytes]] = native.gather if native else rowloop.gather

_SEPARATOR: Final = 1
_FEW: Final = 1 << 16
"""So many values become lists of numbers, which are faster to search; a list of all that an
array of millions has would take many times what the row does."""


class RowMasker:
    """Masks runs of DataRow frames after ``plan``.

    ``memory`` is the target's (``Destined.memory``): types that ``catalog``
    has learnt. ``masked`` counts the values changed, per column; a value that
    the screen had to blank counts once. ``ValueError`` when the plan is not
    one mask for each field.
    """

    __slots__ = ("_actions", "_looks", "_scans", "_screen", "masked")

    def __init__(
        self, fields: Sequence[Field], plan: Plan, memory: dict[object, object] | None = None
    ) -> None:
        self._actions, scans = actions_of(fields, plan, memory)
        self._scans = scans
        self._looks = bytes(scan.look for scan in scans)
        looks = plan.detect is not None and any(self._looks)
        self._screen: Screen | None = plan.detect if looks else None
        if not any(act is not None for act in self._actions):
            self._actions = ()
        self.masked: list[int] = [0] * len(fields)

    @property
    def idle(self) -> bool:
        """True when no row can change: frames may pass without a look."""
        return not self._actions and self._screen is None

    def rows(self, buffer: bytes | memoryview) -> bytes:
        """``buffer`` (whole ``D`` frames, one after another) masked. Anything
        else, or another number of columns than announced, is a ``WireError``
        of the upstream."""
        raw = buffer if isinstance(buffer, bytes) else bytes(buffer)
        try:
            if self._screen is not None:
                raw = self._blank_hits(raw, self._screen)
            if self._actions:
                raw, counts = mask_rows(raw, self._actions)
                for column, count in enumerate(counts):
                    if count:
                        self.masked[column] += count
        except ValueError as error:
            # A mask or screen of ours never raises ValueError on a value; the
            # message is one of the row loop's and quotes nothing.
            raise WireError(Side.UPSTREAM, str(error), "08P01") from None
        return raw

    def frames(self, buffer: bytes) -> bytes:
        """CopyData came among the rows of a result."""
        raise WireError(Side.UPSTREAM, "CopyData without a CopyOutResponse", "08P01")

    def end(self) -> bytes:
        """CopyDone did."""
        raise WireError(Side.UPSTREAM, "CopyDone without a CopyOutResponse", "08P01")

    def _blank_hits(self, raw: bytes, screen: Screen) -> bytes:
        joined, packed = gather(raw, self._looks)
        spans = screen.spans(joined)
        if not spans or not packed:
            return raw
        index = memoryview(packed).cast("I")
        starts: Sequence[int] = index[::3]
        places: Sequence[int] = index[1::3]
        columns: Sequence[int] = index[2::3]
        if len(starts) <= _FEW:
            starts, places, columns = list(starts), list(places), list(columns)
        out = bytearray(raw)
        hit: set[int] = set()
        rest: list[tuple[int, int]] = []
        stars = [scan.blank is Blank.STAR for scan in self._scans]
        for span in spans:
            # The plain case by itself, for it is the frequent one: within one
            # value of text, stars for all of it, and for whole characters.
            start, end = span
            at = bisect_right(starts, start) - 1
            last = (starts[at + 1] if at + 1 < len(starts) else len(joined)) - _SEPARATOR
            if not stars[columns[at]] or end > last:
                rest.append(span)
                continue
            low = places[at]
            shift = low - starts[at]
            high = last + shift
            start += shift
            end += shift
            for _ in range(3):
                if low < start and out[start] & 0xC0 == 0x80:
                    start -= 1
                if end < high and out[end] & 0xC0 == 0x80:
                    end += 1
            out[start:end] = b"*" * (end - start)
            hit.add(at)
        for at, hits in by_value(starts, rest, len(joined)):
            start, column = places[at], columns[at]
            last = (starts[at + 1] if at + 1 < len(starts) else len(joined)) - _SEPARATOR
            size = last - starts[at]
            scan = self._scans[column]
            if scan.look in (Look.INT8, Look.NUMERIC):
                # What was looked at is the text form, of another length.
                size = int.from_bytes(raw[start - 4 : start], "big")
            now = bytes(out[start : start + size])
            out[start : start + size] = blank(scan.blank, now, hits)
            hit.add(at)
        for at in hit:
            self.masked[columns[at]] += 1
        return bytes(out)


def actions_of(
    fields: Sequence[Field], plan: Plan, memory: dict[object, object] | None
) -> tuple[tuple[Action, ...], list[Scan]]:
    """What to do with each column, and how to look into those that pass."""
    if len(plan.columns) != len(fields):
        raise ValueError("a plan needs one entry for each column")
    known = shapes(memory) if memory is not None else None
    actions: list[Action] = []
    scans: list[Scan] = []
    for field, mask in zip(fields, plan.columns, strict=True):
        shape = shape_of(field.type_oid, known)
        if mask is None:
            actions.append(None)
            scans.append(scan_of(shape, field.form))
        else:
            actions.append(action(mask, shape, field.form))
            scans.append(Scan(Look.SKIP, Blank.STAR))
    return tuple(actions), scans


def by_value(
    starts: Sequence[int], spans: Sequence[tuple[int, int]], size: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Spans over values that were joined with NUL bytes, as (index of the
    value, spans relative to its start), for each value that any touches.

    ``starts`` are where the values begin, ``size`` the joined length. A span
    over several values is a hit in each: it errs towards showing less.
    """
    current = -1
    hits: list[tuple[int, int]] = []
    for start, end in spans:
        at = bisect_right(starts, start) - 1
        while at < len(starts) and starts[at] < end:
            first = starts[at]
            last = (starts[at + 1] if at + 1 < len(starts) else size) - _SEPARATOR
            low, high = max(start, first), min(end, last)
            if low < high:
                if at != current:
                    if hits:
                        yield current, hits
                    current, hits = at, []
                hits.append((low - first, high - first))
            at += 1
    if hits:
        yield current, hits
