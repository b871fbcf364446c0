"""Masks what COPY ... TO STDOUT sends.

What the parts are for, in order: ``columns_errand`` (or ``columns_query``,
parsed and described by other means) gives fields; ``catalog.resolve`` and
``learn`` their origins; ``copied`` leaves out what COPY leaves out; a plan for
the columns that ``resolve`` gives for those makes a ``CopyMasker``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from protocols.contract import Destined, Opening, Plan
from protocols.postgres.catalog import generated
from protocols.postgres.copybinary import CopyBinary
from protocols.postgres.copylines import broken
from protocols.postgres.copytext import CopyText, payloads
from protocols.postgres.describe import DescribeErrand
from protocols.postgres.fields import BINARY, TEXT, Field
from protocols.postgres.rows import RowMasker
from protocols.sql.words import CopyShape

_SAFE_ENCODINGS: Final = re.compile(
    r"(utf-?8|unicode|sql_?ascii|latin-?([1-9]|10)|win-?(866|874|125[0-8])|iso_?8859_?[0-9]{1,2}"
    r"|koi8_?[ru]?|euc_?(jp|cn|kr|tw|jis_?2004))",
    re.IGNORECASE,
)
"""Where no ASCII byte is part of another character. The others (SJIS, BIG5,
GBK, GB18030, JOHAB, UHC) could hide a delimiter or a backslash."""

_UTF_8: Final = re.compile(r"utf-?8|unicode", re.IGNORECASE)
_HARMLESS: Final = frozenset({"force_quote"})
"""Options that change nothing for a mask: quotes are read wherever they are."""


class CopyMasker:
    """Masks the payloads of CopyData, in text, csv or binary format.

    ``fields`` are one for each column of the copy; ``ValueError`` when
    ``shape`` is something that can't be masked (see ``unmaskable``) or the
    plan does not fit. ``limit`` is the most of one row that is held, in bytes;
    a longer one is a ``LimitError`` (54000). ``masked`` counts the values
    changed, per column.
    """

    def __init__(
        self,
        shape: CopyShape,
        fields: Sequence[Field],
        plan: Plan,
        memory: dict[object, object] | None = None,
        *,
        limit: int = 1 << 26,
    ) -> None:
        why = unmaskable(shape)
        if why:
            raise ValueError(why)
        form = BINARY if shape.format == "binary" else TEXT
        fields = [field._replace(form=form) for field in fields]
        masker = RowMasker(fields, plan, memory)
        self.masked: list[int] = masker.masked
        self._format: CopyBinary | CopyText
        if form == BINARY:
            self._format = CopyBinary(masker, limit)
        else:
            self._format = CopyText(shape, fields, plan, memory, masked=self.masked, limit=limit)
        self.idle = masker.idle
        """True when nothing can change: payloads may pass without a look."""

    def feed(self, payload: bytes) -> bytes:
        """What to send on for ``payload``; b"" while a row is not whole.
        Cuts between payloads mean nothing. Rows that are not what the shape
        and the fields announce are a ``WireError`` of the upstream."""
        return payload if self.idle else self._format.feed(payload, False)

    def frames(self, buffer: bytes) -> bytes:
        """As ``feed``, for a run of whole CopyData frames: gives frames, one
        for each row as a server sends them. Longer runs are faster by row."""
        if self.idle:
            return buffer
        try:
            stream = payloads(buffer)
        except ValueError as error:
            raise broken(str(error)) from None
        return self._format.feed(stream, True)

    def rows(self, buffer: bytes) -> bytes:
        """A DataRow came among the rows of a copy."""
        raise broken("a DataRow within a COPY")

    def end(self) -> bytes:
        """CopyDone came: what is left (nothing, for every row that is whole
        has left). A stream that ends within a row is a ``WireError``."""
        if not self.idle:
            self._format.end()
        return b""


def unmaskable(shape: CopyShape) -> str:
    """Why this COPY can't be masked, "" when it can."""
    if shape.direction != "out" or shape.via != "stdio":
        return "only COPY to the client can be masked"
    odd = set(shape.odd) - _HARMLESS
    if odd:
        return f"COPY with the option {min(odd)} can't be masked"
    if shape.encoding and not _SAFE_ENCODINGS.fullmatch(shape.encoding):
        return "COPY in this encoding can't be masked"
    if not shape.null.isascii() and shape.encoding and not _UTF_8.fullmatch(shape.encoding):
        return "COPY with this NULL string in this encoding can't be masked"
    ones = (shape.delimiter, shape.quote, shape.escape)
    if shape.format == "csv" and any(len(one) != 1 or not one.isascii() for one in ones):
        return "COPY with these options can't be masked"
    if shape.format == "text" and (len(shape.delimiter) != 1 or not shape.delimiter.isascii()):
        return "COPY with this delimiter can't be masked"
    return ""


def columns_query(shape: CopyShape) -> str:
    """The query whose RowDescription describes what ``shape`` copies, apart
    from generated columns (see ``copied``)."""
    if not shape.relation:
        return shape.query
    quoted = ('"' + name.replace('"', '""') + '"' for name in shape.columns)
    return f"SELECT {', '.join(quoted) or '*'} FROM {shape.relation}"


def columns_errand(
    opening: Opening, destined: Destined, shape: CopyShape, search_path: str | None = None
) -> DescribeErrand:
    """Describes ``columns_query(shape)`` on a side connection. There names
    mean what they mean to a new session: pass the client's ``search_path``
    when it set one, and trust the answer for qualified names only when
    temporary tables may be about."""
    return DescribeErrand(opening, destined, columns_query(shape), search_path)


def copied(
    memory: dict[object, object], shape: CopyShape, fields: Sequence[Field]
) -> tuple[Field, ...]:
    """The columns that are copied, in the form they are copied in: ``fields``
    without the generated ones that ``COPY t TO`` leaves out. Call it when the
    catalog has been learnt for ``fields``. CopyOutResponse must announce as
    many columns, else use ``unknown``."""
    form = BINARY if shape.format == "binary" else TEXT
    every = bool(shape.relation) and not shape.columns
    return tuple(
        field._replace(form=form)
        for field in fields
        if not (every and generated(memory, field.table_oid, field.attnum))
    )


def unknown(count: int, shape: CopyShape) -> tuple[Field, ...]:
    """Fields for a copy of which only the number of columns is known. A mask
    shows NULL in them."""
    form = BINARY if shape.format == "binary" else TEXT
    return (Field("?column?", 0, 0, 0, -1, -1, form),) * count
