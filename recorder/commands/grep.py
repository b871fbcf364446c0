"""recorder grep: find commands and events by their text."""

from __future__ import annotations

import argparse

import re2

from recorder.commands.filters import add_filters, chosen
from recorder.commands.opening import add_json, complain
from recorder.errors import FormatError, UnknownSessionError
from recorder.reader import decoded, open_recording
from recorder.records import CommandEntry, Entry, Event
from recorder.render import Printer
from recorder.timeline import as_object, line

_FOUND, _NONE, _TROUBLE = 0, 1, 2


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "grep",
        help="find commands and events by their text",
        description="Searches the text of commands, their parameters, rules and reasons, and "
        "events (not payload bytes). The pattern is an RE2 regular expression (linear time). "
        "Exit code 0: found, 1: nothing found, 2: trouble.",
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
            for record in decoded(
                open_recording(args.dir, row.path if row.path.endswith(".agr") else row.session)
            ):
                hits = [entry for entry in record.entries if _matches(pattern, entry)]
                for entry in hits:
                    code = _FOUND
                    if args.sessions:
                        break
                    if args.json:
                        out.json("match", {"session": row.session, **as_object(record, entry)})
                    else:
                        out.line(f"{row.session}  {record.at / 1e9:10.3f}  {line(entry)}")
                if hits and args.sessions:
                    out.line(row.session)
                    break
        except (FormatError, UnknownSessionError, OSError) as error:
            complain(f"{row.session}: {error}")
            trouble = True
    return _TROUBLE if trouble else code


def _matches(pattern: re2._Regexp, entry: Entry) -> bool:
    if isinstance(entry, CommandEntry):
        texts = [entry.text, entry.reason, *entry.rules]
        texts += [p for p in entry.parameters or () if p is not None]
    elif isinstance(entry, Event):
        texts = [entry.kind, *map(str, entry.fields.values())]
    else:
        return False
    return any(pattern.search(text.encode("utf-8", "replace").decode()) for text in texts)
