"""PostgreSQL's messages in a few words, safe for a terminal."""

from __future__ import annotations

from recorder.render import one_line, statement
from recorder.replay.compare import cells
from recorder.replay.messages import WITHHELD, Message


def described(message: Message) -> str:
    """A request in a line; "" for messages that ask nothing by themselves."""
    kind, body = chr(message.kind), message.body
    if kind == "Q":
        return statement(body.rstrip(b"\0").decode("utf-8", "surrogateescape"), 200)
    if kind == "P":
        text = body.partition(b"\0")[2].partition(b"\0")[0]
        return statement(text.decode("utf-8", "surrogateescape"), 200)
    if kind == "B":
        name = body.partition(b"\0")[2].partition(b"\0")[0]
        return one_line(f"(prepared {name.decode('utf-8', 'surrogateescape') or 'unnamed'})", 200)
    if kind == "F":
        return f"(function {int.from_bytes(body[:4], 'big')})"
    return ""


def summary(message: Message) -> str:
    """A server's message in a few words."""
    if message.kind == WITHHELD:
        return f"{message.length} bytes that are not on record"
    kind, body = chr(message.kind), message.body
    if kind in "EN":
        parts = {
            chr(p[0]): p[1:].decode("utf-8", "surrogateescape") for p in body.split(b"\0") if p
        }
        return one_line(f"{parts.get('S', '')} {parts.get('C', '')}: {parts.get('M', '')}", 200)
    if kind == "C":
        return one_line(body.rstrip(b"\0").decode("utf-8", "surrogateescape"), 80)
    if kind == "D":
        return one_line(" | ".join(
            "NULL" if v is None else v[:40].decode("utf-8", "surrogateescape")
            for v in _values(body)
        ), 120)  # fmt: skip
    return f"{message.length} bytes"


def _values(body: bytes) -> list[bytes | None]:
    try:
        return list(cells(body))
    except ValueError:
        return [body]
