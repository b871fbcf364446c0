"""Text to parts: PostgreSQL's own parser, then the walk.

The text is parsed under ``standard_conforming_strings = on`` and as UTF-8; the
conversation must hold the server to both (see ``settings``).  ``guard`` keeps
from the parser what would take it too long; the JSON of the tree is limited
in size, and the walk in depth.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from pglast.error import Error as ParserError
from pglast.parser import parse_sql_json

from protocols.sql.findings import unparsed
from protocols.sql.guard import refusal
from protocols.sql.nodes import one
from protocols.sql.statements import Telling
from protocols.sql.walk import TooDeepError
from protocols.sql.words import Analysis, Statement

LIMIT = 1 << 20
"""Characters of one text."""
TREE_LIMIT = 8 << 20
"""Bytes of the parse tree's JSON, which bounds the time of a walk to about a
second: 150,000 constants in VALUES, or 40,000 comparisons."""

CACHE_TEXT = 1 << 16
CACHE_PARTS = 64


class _Cache:
    """The last texts analysed, bounded in entries and in weight: an analysis
    takes about ten times the memory of its text."""

    def __init__(self, entries: int = 4096, weight: int = 4 << 20) -> None:
        self.entries = entries
        self.weight = weight
        self.held = 0
        self.known: OrderedDict[str, Analysis] = OrderedDict()

    def keep(self, text: str, analysis: Analysis) -> None:
        if len(text) >= CACHE_TEXT or len(analysis.parts) > CACHE_PARTS or text in self.known:
            return
        self.known[text] = analysis
        self.held += _weight(text, analysis)
        while len(self.known) > self.entries or self.held > self.weight:
            self.held -= _weight(*self.known.popitem(last=False))


def _weight(text: str, analysis: Analysis) -> int:
    return len(text) + 200 * len(analysis.parts)


_cache = _Cache()


def analyse(text: str, limit: int = LIMIT) -> Analysis:
    """What ``text`` does. Never raises; what can't be understood is one part
    ``sql.unparsed`` that says why."""
    if len(text) > limit:
        return _failed(text, refusal(text, limit))
    known = _cache.known.get(text)
    if known is not None:
        _cache.known.move_to_end(text)
        return known
    try:
        analysis = _analyse(text)
    except TooDeepError:
        analysis = _failed(text, "the statement is nested too deep")
    except ParserError as error:
        analysis = _failed(text, _why(error))
    except UnicodeError:
        analysis = _failed(text, "the text is not valid Unicode")
    except (RecursionError, MemoryError):
        return _failed(text, "the statement is nested too deep")
    except Exception as error:  # a tree of a shape that this floor does not know
        analysis = _failed(text, f"the parse tree was not understood ({type(error).__name__})")
    _cache.keep(text, analysis)
    return analysis


def _failed(text: str, why: str) -> Analysis:
    part = unparsed(why)
    return Analysis((part,), (Statement((0, len(text)), "unparsed", (part,)),))


def _why(error: ParserError) -> str:
    """The parser's words, without what they quote of the text: it may hold
    secrets."""
    message = str(error.args[0]) if error.args else "syntax error"
    return f"PostgreSQL's parser refuses it: {message.partition(' at or near ')[0]}"


def _analyse(text: str) -> Analysis:
    why = refusal(text, len(text))
    if why:
        return _failed(text, why)
    tree = parse_sql_json(text)
    if len(tree) > TREE_LIMIT:
        return _failed(text, "the statement is too large to judge")
    raw: list[dict[str, Any]] = json.loads(tree).get("stmts", [])
    raw = [r for r in raw if r.get("stmt")]
    spans = _spans(text, raw)
    statements = []
    for entry, span in zip(raw, spans, strict=True):
        kind, node = one(entry["stmt"])
        telling = Telling(text[span[0] : span[1]])
        telling.tell(kind, node)
        statements.append(telling.statement(span, len(raw)))
    parts = tuple(p for s in statements for p in s.parts)
    return Analysis(parts, tuple(statements))


def _spans(text: str, raw: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Where the statements are, in characters. The parser counts bytes."""
    places = []
    for entry in raw:
        start = entry.get("stmt_location", 0)
        length = entry.get("stmt_len", 0)
        places.append((start, start + length if length else -1))
    if text.isascii():
        return [(a, len(text) if b < 0 else b) for a, b in places]
    encoded = text.encode()
    spans = []
    at = chars = 0
    for start, end in places:
        chars += len(encoded[at:start].decode())
        first = chars
        stop = len(encoded) if end < 0 else end
        chars += len(encoded[start:stop].decode())
        at = stop
        spans.append((first, chars))
    return spans
