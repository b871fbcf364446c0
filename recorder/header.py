"""A session's HEADER record."""

from __future__ import annotations

from typing import Any

from recorder import framing, records
from recorder.errors import FormatError
from recorder.framing import Framed

SESSION_MAX = 64


def is_session_id(value: object) -> bool:
    """A session's id names a file, so it is letters and digits only."""
    if not isinstance(value, str) or not 0 < len(value) <= SESSION_MAX:
        return False
    return value.isascii() and value.isalnum()


def header_of(record: Framed) -> dict[str, Any]:
    """The header map of a HEADER record; ``FormatError`` if it is none."""
    body = records.unpack(record.body, record.offset)
    ok = record.kind == framing.HEADER and len(body) >= 5 and isinstance(body[4], dict)
    if not ok:
        raise FormatError("a session does not start with its header", record.offset)
    header: dict[str, Any] = body[4]
    wall = header.get("wall")
    if not is_session_id(header.get("session")) or type(wall) is not int or wall < 0:
        raise FormatError("a session's header lacks its id or time", record.offset)
    return header
