"""recorder events: everything that happened, in order."""

from __future__ import annotations

import argparse

from recorder.commands.opening import (
    DAMAGED,
    INCOMPLETE,
    OK,
    add_id,
    add_json,
    complain,
    recording_of,
)
from recorder.errors import FormatError
from recorder.reader import decoded
from recorder.records import StoredSpan
from recorder.render import Printer, one_line
from recorder.timeline import line, objects


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "events",
        help="everything that happened in a session, in order",
        description="Prints identity, commands with verdicts, approvals, refusals and the like, "
        "each with the seconds since the session's start.",
    )
    add_id(parser)
    parser.add_argument("--bytes", action="store_true", help="also where bytes moved")
    parser.add_argument(
        "--kind", action="append", metavar="KIND", help="only this kind (repeatable)"
    )
    add_json(parser)
    parser.set_defaults(do=run, pages=True)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    out = Printer()
    recording = recording_of(args)
    code = OK
    try:
        for record in decoded(recording):
            if record.gap:
                code = INCOMPLETE
            if args.json:
                for value in objects(record, args.bytes):
                    if not args.kind or value["event"] in args.kind:
                        out.json("event", {"session": recording.header["session"], **value})
                continue
            if record.gap:
                out.line(f"{record.at / 1e9:10.3f}  gap  {record.gap} records are missing")
            for entry in record.entries:
                if isinstance(entry, StoredSpan) and not args.bytes:
                    continue
                text = line(entry)
                if not args.kind or text.split("  ", 1)[0] in args.kind:
                    out.line(f"{record.at / 1e9:10.3f}  {text}")
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    if recording.end is not None and (not args.kind or "end" in args.kind):
        end = recording.end
        if args.json:
            told = {"seq": end.seq, "at": end.at / 1e9, "event": "end"}
            rest = {"status": end.status, "reason": end.reason}
            out.json("event", {"session": recording.header["session"], **told, **rest})
        else:
            out.line(f"{end.at / 1e9:10.3f}  end  {end.status}: {one_line(end.reason)}")
    return code
