"""What a database's error says, without what the URL says beside the host: libpq quotes the
URL, or its password, where it can't read them."""

from __future__ import annotations

import psycopg


def told(error: psycopg.Error) -> str:
    """One line, for logs and people. The first one alone: what follows it (DETAIL, CONTEXT) has
    values of rows."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return "its URL can't be used"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
