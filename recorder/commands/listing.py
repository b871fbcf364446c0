"""recorder list: which sessions there are."""

from __future__ import annotations

import argparse

from recorder.catalog import Line
from recorder.commands.filters import add_filters, answer, wanted_of
from recorder.commands.opening import DAMAGED, OK, USAGE, add_json, complain
from recorder.index.answer import Sorting
from recorder.render import Printer, amount, duration, one_line
from recorder.tombstones import TombstoneError, tombstones

_TITLES = (
    "SESSION",
    "STARTED",
    "TOOK",
    "STATUS",
    "PRINCIPAL",
    "TARGET",
    "WHERE",
    "COMMANDS",
    "BYTES",
)

_SORTS: dict[str, Sorting] = {
    "took": lambda line: line.seconds or 0.0,
    "bytes": lambda line: line.bytes,
    "commands": lambda line: line.allowed + line.masked + line.held + line.blocked,
    "blocked": lambda line: line.blocked,
    "principal": lambda line: line.principal,
    "target": lambda line: line.target,
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "list",
        aliases=["ls"],
        help="list sessions",
        description="Lists sessions, newest last: finished, recovered after a crash, and open "
        "ones. WHERE is the database or the repository. COMMANDS counts them; B blocked, "
        "H held, M masked.",
    )
    add_filters(parser)
    parser.add_argument(
        "--sort", choices=("started", *_SORTS), default="started",
        help="by what, least first; with --limit the N greatest (default: started)",
    )  # fmt: skip
    parser.add_argument(
        "--deleted", action="store_true", help="what recorder prune deleted, by its tombstones"
    )
    add_json(parser)
    parser.set_defaults(do=run, pages=True)


def run(args: argparse.Namespace) -> int:
    """List what the filters choose."""
    out = Printer()
    if args.deleted:
        return _deleted(out, args)
    answers = answer(args)
    lines = answers.lines(args.limit, _SORTS.get(args.sort))
    for session, why in answers.breaks.items():
        complain(f"{one_line(session)}: not all of it could be searched: {one_line(why)}")
    if args.json:
        for line in lines:
            out.json("session", line.as_dict())
        return OK
    out.table(_TITLES, [_row(line) for line in lines])
    return OK


def _deleted(out: Printer, args: argparse.Namespace) -> int:
    wanted = wanted_of(args)
    if wanted.about_items or wanted.approval is not None:
        complain("what was done in a session went with it: choose by who, where and when")
        return USAGE
    rows, code = [], OK
    try:
        for stone in tombstones(args.dir):
            if wanted.session(stone.line):
                rows.append(stone)
    except TombstoneError as error:
        complain(str(error))
        code = DAMAGED
    rows = rows[-args.limit :] if args.limit else rows
    if args.json:
        for stone in rows:
            out.json("tombstone", stone.as_dict())
        return code
    titles = ("SESSION", "STARTED", "PRINCIPAL", "TARGET", "DELETED", "BY", "RULE")
    out.table(
        titles,
        [
            (
                s.line.session,
                s.line.started[:19],
                s.line.principal,
                s.line.target,
                s.at,
                s.by,
                s.rule,
            )
            for s in rows
        ],
    )
    return code


def _row(line: Line) -> tuple[str, ...]:
    counts = [str(line.allowed + line.masked + line.held + line.blocked)]
    if line.status == "open":
        counts[0] += "+"
    counts += [
        f"{n}{c}" for n, c in ((line.blocked, "B"), (line.held, "H"), (line.masked, "M")) if n
    ]
    return (
        line.session,
        line.started[:19].replace("T", " "),
        "" if line.seconds is None else duration(int(line.seconds * 1e9)),
        line.status,
        line.principal or "-",
        line.target or "-",
        line.database or "-",
        " ".join(counts),
        amount(line.bytes) if line.bytes else "-",
    )
