"""recorder grep: find commands and events by their text."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import re2

from recorder import git_story
from recorder.catalog import Line as Row
from recorder.commands.filters import add_filters, chosen
from recorder.commands.opening import add_json, complain
from recorder.errors import FormatError, UnknownSessionError
from recorder.git_story import Line, What
from recorder.reader import Recording, decoded, open_recording
from recorder.records import CommandEntry, Entry, Event
from recorder.render import Printer, one_line
from recorder.streams import Told
from recorder.timeline import as_object, entry_fields, line

_FOUND, _NONE, _TROUBLE = 0, 1, 2
_TEXTS = (What.TEXT, What.ERROR, What.REPORT, What.END)
_Item = tuple[int, Callable[[], dict[str, Any]], Callable[[], str], list[str]]
"""When, as JSON, as a line, and what is searched."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "grep",
        help="find commands and events by their text",
        description="Searches the text of commands, their parameters, rules and reasons, and "
        "events (not payload bytes; but of git-ssh, the text that a push or fetch showed: "
        "progress, messages, errors, reports). The pattern is an RE2 regular expression "
        "(linear time). Exit code 0: found, 1: nothing found, 2: trouble.",
    )
    parser.add_argument("pattern", metavar="PATTERN")
    parser.add_argument("-i", "--ignore-case", action="store_true")
    parser.add_argument("-F", "--fixed", action="store_true", help="a plain string, no pattern")
    parser.add_argument("-l", "--sessions", action="store_true", help="only the sessions' ids")
    add_filters(parser)
    add_json(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Search what the filters choose."""
    out = Printer()
    options = re2.Options()
    options.case_sensitive = not args.ignore_case
    options.log_errors = False
    try:
        pattern = re2.compile(re2.escape(args.pattern) if args.fixed else args.pattern, options)
    except re2.error as error:
        complain(f"not a pattern: {error}")
        return _TROUBLE
    code, trouble = _NONE, False
    for row in chosen(args):
        try:
            recording = open_recording(
                args.dir, row.path if row.path.endswith(".agr") else row.session
            )
            try:
                if _search(recording, row, pattern, args, out):
                    code = _FOUND
            finally:
                recording.close()
        except (FormatError, UnknownSessionError, OSError) as error:
            complain(f"{row.session}: {error}")
            trouble = True
    return _TROUBLE if trouble else code


def _search(
    recording: Recording, row: Row, pattern: re2._Regexp, args: argparse.Namespace, out: Printer
) -> bool:
    """Print what of ``recording`` matches; True if anything did."""
    found = False
    for at, fields, shown, texts in _searchable(recording, row.protocol):
        if not any(pattern.search(text.encode("utf-8", "replace").decode()) for text in texts):
            continue
        found = True
        if args.sessions:
            out.line(row.session)
            break
        if args.json:
            out.json("match", {"session": row.session, **fields()})
        else:
            out.line(f"{row.session}  {at / 1e9:10.3f}  {shown()}")
    return found


def _searchable(recording: Recording, protocol: str) -> Iterator[_Item]:
    if protocol == git_story.PROTOCOL:
        for item in git_story.lines(recording):
            if isinstance(item, Line) and item.what in _TEXTS:
                yield item.at, partial(_said, item), partial(_shown, item), [" ".join(item.words)]
            elif isinstance(item, Told):
                yield (
                    item.at,
                    partial(_told, item),
                    partial(line, item.entry),
                    _texts(item.entry),
                )
        return
    for record in decoded(recording):
        for entry in record.entries:
            yield record.at, partial(as_object, record, entry), partial(line, entry), _texts(entry)


def _told(told: Told) -> dict[str, Any]:
    return {"at": told.at / 1e9, **entry_fields(told.entry)}


def _said(said: Line) -> dict[str, Any]:
    teller = "gateway" if said.ours else "remote"
    text = " ".join(said.words)
    return {"at": said.at / 1e9, "event": said.what.value, "from": teller, "text": text}


def _shown(said: Line) -> str:
    teller = "gateway" if said.ours else "remote"
    return f"{said.what.value}  {teller}: {one_line(' '.join(said.words))}"


def _texts(entry: Entry) -> list[str]:
    if isinstance(entry, CommandEntry):
        texts = [entry.text, entry.reason, *entry.rules]
        return texts + [p for p in entry.parameters or () if p is not None]
    if isinstance(entry, Event):
        return [entry.kind, *map(str, entry.fields.values())]
    return []
