"""The errand that asks what columns a query would have."""

from __future__ import annotations

from protocols.contract import Destined, Opening
from protocols.postgres.errands import UpstreamErrand
from protocols.postgres.fields import Field, parse_row_description
from protocols.postgres.messages import frame


class DescribeErrand(UpstreamErrand):
    """Parses and describes ``text``, one statement, and never runs it;
    ``result`` is a ``tuple[Field, ...]`` (all forms are text), () where the
    statement returns nothing.

    Names in ``text`` mean what they mean to a new session of that user: a
    temporary table or a search path of the client's session are not seen.
    ``search_path`` sets one, as text; ``ValueError`` when it or ``text`` can't
    be sent.
    """

    def __init__(
        self, opening: Opening, destined: Destined, text: str, search_path: str | None = None
    ) -> None:
        if "\0" in text or (search_path is not None and set("\0\\") & set(search_path)):
            raise ValueError("not a text that can be sent")
        # Parsing takes locks; one that the client's own session holds would
        # never go while it waits for us.
        setup = (
            "BEGIN READ ONLY; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'"
        )
        if search_path is not None:
            literal = search_path.replace("'", "''")
            setup += f"; SELECT pg_catalog.set_config('search_path', '{literal}', true)"
        self._text = text.encode("utf-8", "surrogateescape")
        self._setup = setup.encode("utf-8", "surrogateescape")
        self._stage = 0
        self._fields: tuple[Field, ...] | None = None
        super().__init__(opening, destined)

    def ready(self, status: bytes) -> bytes:
        self._stage += 1
        if self._stage == 1:
            return frame(b"Q", self._setup + b"\0")
        if self._stage == 2:
            if status != b"T":
                self.fail("the upstream did not start a transaction")
                return b""
            parse = frame(b"P", b"\0" + self._text + b"\0\0\0")
            return parse + frame(b"D", b"S\0") + frame(b"S", b"")
        if self._fields is None:
            self.fail("the upstream did not describe the statement")
        else:
            self.finish(self._fields)
        return b""

    def message(self, kind: bytes, payload: bytes) -> bytes:
        if self._stage == 2 and kind == b"T":
            self._fields = parse_row_description(payload)
            return b""
        if self._stage == 2 and kind == b"n":
            self._fields = ()
            return b""
        return super().message(kind, payload)
