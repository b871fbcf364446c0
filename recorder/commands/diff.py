"""recorder diff: what two sessions did, and what they got."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from protocols.wire import Side
from recorder.commands.opening import (
    DAMAGED,
    INCOMPLETE,
    OK,
    add_json,
    complain,
    recording_of,
    told_end,
)
from recorder.commands.replay import DIVERGED
from recorder.errors import FormatError
from recorder.reader import Recording, decoded
from recorder.records import CommandEntry
from recorder.render import Printer, one_line, statement
from recorder.replay.align import operations
from recorder.replay.compare import Comparer, name_of
from recorder.replay.exchanges import Exchange, exchanges
from recorder.replay.messages import Message, UnreadableError
from recorder.replay.report import shown
from recorder.replay.rows import RowShapes
from recorder.replay.script import In, Script, Step
from recorder.replay.wording import summary
from recorder.timeline import verdict_name

HELD = 64 << 20
"""Bytes of rows of a session that are held as they are."""
_ROWS = frozenset(b"Dd")
_MOST = 20
"""Differences of one answer that are told."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "diff",
        help="how two sessions differ",
        description="Aligns the commands of two sessions; tells which are in one only, and which "
        "verdicts differ; of postgres, also where the same request got another answer (as the "
        "client saw it, with the normalisers of recorder replay). What follows after 1,500 "
        "differences in the way is told as removed and added; of rows after the first 64 MiB "
        "digests are compared. Exit code 0: no difference, "
        "5: differences, 3: none, but a session has no regular end.",
    )
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--exact", action="store_true", help="normalise nothing")
    add_json(parser)
    parser.set_defaults(do=run, pages=True)


def run(args: argparse.Namespace) -> int:
    """Compare them."""
    out, code = Printer(), OK
    try:
        a, b = (
            recording_of(argparse.Namespace(dir=args.dir, id=name)) for name in (args.a, args.b)
        )
        found = list(_commands(a, b))
        if a.header.get("protocol") == b.header.get("protocol") == "postgres":
            comparer = Comparer(frozenset()) if args.exact else Comparer()
            found += _answers(_exchanges(a), _exchanges(b), comparer)
    except FormatError as error:
        complain(f"a recording breaks: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    for item in found:
        if args.json:
            out.json("diff-item", item)
            continue
        mark = {"only-a": "-", "only-b": "+"}.get(item["what"], "~")
        style = {"-": "red", "+": "green"}.get(mark, "yellow")
        out.line(out.paint(f"{mark} {statement(item['text'], 160)}", style))
        for name in ("field", "a", "b"):
            if item.get(name) is not None:
                out.line(f"    {name:5}  {one_line(str(item[name]), 160)}")
    if found:
        return DIVERGED
    if not args.json:
        out.line("no difference")
    for recording in (a, b):
        session = one_line(str(recording.header["session"]))
        code = told_end(recording.end, f"{session}:") or code
    return code


def _commands(a: Recording, b: Recording) -> Iterator[dict[str, Any]]:
    then, now = _said(a), _said(b)
    for op, i, j, k, m in operations([c.text for c in then], [c.text for c in now]):
        if op != "equal":
            yield from ({"what": "only-a", "text": c.text} for c in then[i:j])
            yield from ({"what": "only-b", "text": c.text} for c in now[k:m])
            continue
        for x, y in zip(then[i:j], now[k:m], strict=True):
            if (x.verdict, x.rules) != (y.verdict, y.rules):
                yield {"what": "verdict", "text": x.text, "a": _verdict(x), "b": _verdict(y)}


def _said(recording: Recording) -> list[CommandEntry]:
    return [e for r in decoded(recording) for e in r.entries if isinstance(e, CommandEntry)]


def _verdict(entry: CommandEntry) -> str:
    return f"{verdict_name(entry.verdict)} ({', '.join(entry.rules)})"


def _exchanges(recording: Recording) -> list[Exchange]:
    script = Script(recording, Side.CLIENT)
    try:
        script.greet()
        return exchanges(_light(script.steps()))
    except UnreadableError:
        return []


def _light(steps: Iterable[Step]) -> Iterator[Step]:
    """``steps``, with digests in place of rows after the first HELD bytes: they are compared
    as a whole then, without normalisers."""
    held = 0
    for step in steps:
        if isinstance(step, In) and step.message.kind in _ROWS:
            held += step.message.length
            if held > HELD and step.message.known:
                yield In(step.at, _digest(step.message))
                continue
        yield step


def _digest(message: Message) -> Message:
    """A row of one value that says which it was."""
    sha = hashlib.sha256(message.raw).hexdigest()
    value = f"{message.length} bytes, SHA-256 {sha}".encode()
    body = b"\0\1" + len(value).to_bytes(4, "big") + value
    return message._replace(raw=message.raw[:1] + (len(body) + 4).to_bytes(4, "big") + body)


def _answers(a: list[Exchange], b: list[Exchange], comparer: Comparer) -> Iterator[dict[str, Any]]:
    keys = [[tuple(m.raw for m in e.asked) for e in each] for each in (a, b)]
    for op, i, j, k, n in operations(keys[0], keys[1]):
        if op == "equal":
            for then, now in zip(a[i:j], b[k:n], strict=True):
                yield from _answer(then, now, comparer)


def _answer(then: Exchange, now: Exchange, comparer: Comparer) -> Iterator[dict[str, Any]]:
    shapes = RowShapes()
    for message in then.asked:
        shapes.asked(message)
    before = [m for ours, m in then.steps if not ours]
    after = [m for ours, m in now.steps if not ours]
    kinds = [m.kind for m in before], [m.kind for m in after]
    told = 0
    for op, i, j, k, n in operations(kinds[0], kinds[1]):
        if op != "equal":
            gone = [("only-a", m) for m in before[i:j]] + [("only-b", m) for m in after[k:n]]
            for what, message in gone[:_MOST]:
                text = f"{then.text}: {name_of(message.kind)} {summary(message)}"
                yield {"what": what, "text": text}
            continue
        for x, y in zip(before[i:j], after[k:n], strict=True):
            shapes.answered(x)
            for found in _fields(x, y, comparer, shapes):
                told += 1
                if told <= _MOST:
                    yield {"what": "answer", "text": then.text, **found}


def _fields(
    x: Message, y: Message, comparer: Comparer, shapes: RowShapes
) -> Iterator[dict[str, Any]]:
    if not (x.known and y.known):
        return
    row = shapes.columns if x.kind == 0x44 else None
    for d in comparer.compare(x, y, row).differences:
        yield {"field": f"{name_of(x.kind)} {d.field}", "a": shown(d.expected), "b": shown(d.got)}
