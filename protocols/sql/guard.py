"""What the parser is not given to read.

PostgreSQL's lexer takes time that grows with the square of nested comments
and of runs of signs (``+++``, of which it gives back all but one each time);
the rest of a text costs it microseconds per kilobyte.  Deep nesting needs no
guard before the parser: it has a stack limit of its own and says so.
"""

from __future__ import annotations

import re

COMMENTS = 1000
SIGNS = 512

_signs = re.compile(r"(?:\+-?)+")


def refusal(text: str, limit: int) -> str:
    """Why ``text`` is not parsed; "" if it may be. ``limit`` in characters."""
    if len(text) > limit:
        return f"the text has more than {limit} characters"
    if "\0" in text:
        return "the text holds a zero byte"
    if text.count("/*") > COMMENTS:
        return f"the text has more than {COMMENTS} comments"
    if text.count("+") > SIGNS // 2 and any(
        found.end() - found.start() > SIGNS for found in _signs.finditer(text)
    ):
        return f"the text has more than {SIGNS} signs in a row"
    return ""
