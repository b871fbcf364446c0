"""recorder list: which sessions there are."""

from __future__ import annotations

import argparse

from recorder.catalog import Line
from recorder.commands.filters import add_filters, chosen
from recorder.commands.opening import OK, add_json
from recorder.render import Printer, amount, duration

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
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the newest N")
    add_json(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """List what the filters choose."""
    out = Printer()
    lines = sorted(chosen(args), key=lambda line: (line.started, line.session))
    if args.limit > 0:
        lines = lines[-args.limit :]
    if args.json:
        for line in lines:
            out.json("session", line.as_dict())
        return OK
    out.table(_TITLES, [_row(line) for line in lines])
    return OK


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
