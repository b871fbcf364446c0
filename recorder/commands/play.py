"""recorder play: watch a session again."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from protocols.wire import Side
from recorder import git_story
from recorder.catalog import describe
from recorder.commands.opening import (
    DAMAGED,
    INCOMPLETE,
    OK,
    add_id,
    complain,
    path_of_stdin,
    recording_of,
)
from recorder.commands.pacing import KEYS, Back, Keyboard, Pace, Quit
from recorder.errors import FormatError
from recorder.git_story import Line
from recorder.play_git import GitScreen
from recorder.records import CommandEntry
from recorder.render import Printer, amount, one_line
from recorder.show_postgres import PostgresScreen
from recorder.streams import Hop, Piece, Streams, Told
from recorder.timeline import command_line, first_line, line

_STYLES = {3: "red", 2: "yellow", 1: "yellow"}


def speed(text: str) -> float:
    """``1``, ``2.5``, or ``max`` (0.0)."""
    if text == "max":
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.01 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"not a speed (0.01 to 10000, or max): {text}")
    return value


def seconds(text: str) -> float:
    """``2`` or ``0.5s``."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"not a time in seconds: {text}")
    return value


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "play",
        help="watch a session again, as its client saw it",
        description="Plays a session: each command with its verdict, and what the client got "
        "(for postgres: result tables, errors, notices; for git-ssh: what both said, packs as "
        "counts). In real time on a terminal, where these keys work: "
        f"{KEYS}. Escape sequences in the recording are shown, never sent to your terminal. "
        "ID@12.5 begins 12.5 seconds after the session's start.",
    )
    add_id(parser)
    parser.add_argument("--speed", type=speed, metavar="N|max", help="1 on a terminal, else max")
    parser.add_argument("--no-timing", action="store_const", dest="speed", const=0.0,
        help="all at once: the same as --speed max")  # fmt: skip
    parser.add_argument(
        "-i", "--idle-time-limit", "--idle-limit", type=seconds, metavar="SECONDS",
        help="wait no longer than this",
    )  # fmt: skip
    parser.add_argument(
        "--step", action="store_true", help="begin paused: the key . goes on by one"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=20,
        metavar="N",
        help="rows of each result (git: of each list) to show",
    )
    parser.add_argument(
        "--events", action="store_true", help="show all events too, and what was only prepared"
    )
    parser.set_defaults(do=run, pages=lambda args: args.speed == 0.0 and not args.step)


_FROM = re.compile(r"(.+)@([0-9]{1,9}(?:\.[0-9]{1,9})?)", re.DOTALL)
_MARGIN = 12
"""Columns before what was said."""


def run(args: argparse.Namespace) -> int:
    """Play it."""
    out = Printer()
    begin = 0
    found = _FROM.fullmatch(args.id)
    if found is not None and not Path(args.id).exists():
        args.id, begin = found[1], int(float(found[2]) * 1e9)
    if args.id == "-":
        args.id = str(path_of_stdin())  # it may be read again, by going back
    factor = args.speed if args.speed is not None else (1.0 if out.terminal else 0.0)
    width = max(40, shutil.get_terminal_size().columns - _MARGIN) if out.terminal else 0
    with Keyboard(out.terminal and (bool(factor) or args.step)) as keyboard:
        pace = Pace(factor, args.idle_time_limit, keyboard, begin, args.step)
        while True:
            try:
                return perform(args, out, pace, width)
            except Quit:
                out.line("(left)")
                return OK
            except Back as back:
                out.line(out.paint(f"── back to {back.to / 1e9:.1f} s ──", "bold"))
                pace.restart(back.to)


_ASKED, _GOT = Hop(Side.CLIENT, True), Hop(Side.CLIENT, False)


def _shown(screen: PostgresScreen, piece: Piece) -> Iterator[str]:
    if piece.hop == _GOT:
        return screen.feed(piece.raw) if piece.raw is not None else screen.hidden(piece.length)
    if piece.raw is not None:
        return screen.asked(piece.raw)
    screen.asked_hidden(piece.length)
    return iter(())


def _nothing(_: str) -> None:
    """Before the place where to begin."""


def perform(args: argparse.Namespace, out: Printer, pace: Pace, width: int = 0) -> int:
    """Play the session ``args.id`` on ``out``, with ``args.rows`` of each result, in tables
    of at most ``width`` columns (0: any)."""
    recording = recording_of(args)
    about = describe(recording)
    who = f"{about.principal or '?'} on {about.target or '?'} ({about.protocol or '?'})"
    out.line(out.paint(one_line(f"{about.session}  {about.started}  {who}"), "bold"))
    screen = PostgresScreen(max(0, args.rows), width) if about.protocol == "postgres" else None
    git = GitScreen(max(0, args.rows)) if about.protocol == git_story.PROTOCOL else None
    story: Iterator[Line | Piece | Told] = (
        git_story.lines(recording) if git is not None else Streams(recording).story(_ASKED, _GOT)
    )
    unseen = 0
    try:
        for item in story:
            pace.until(item.at, isinstance(item, Told) and isinstance(item.entry, CommandEntry))
            tell = out.line if pace.shows(item.at) else _nothing
            if git is not None and not isinstance(item, Told):
                said = (
                    git.feed(item) if isinstance(item, Line) else git.hidden(item.length, item.why)
                )
                for text in said:
                    tell(f"            {text}")
                continue
            assert not isinstance(item, Line)
            if isinstance(item, Piece):
                if screen is not None:
                    for text in _shown(screen, item):
                        tell(f"            {text}")
                elif item.hop == _GOT:
                    unseen += item.length
                if item.offset < 0 and item.hop == _GOT:
                    tell(f"            ({item.why})")
                continue
            entry = item.entry
            stamp = out.paint(f"{item.at / 1e9:10.3f}", "dim")
            if isinstance(entry, CommandEntry):
                if entry.phase == "prepare" and entry.verdict < 2 and not args.events:
                    continue  # what runs of it is told when it runs
                text = command_line(entry if git is None else first_line(entry))
                style = _STYLES.get(entry.verdict)
                tell(f"{stamp}  {out.paint(text, style) if style else text}")
            elif args.events or entry.kind in (
                "approval",
                "refusal",
                "error",
                "cancel",
                "identity",
            ):
                tell(f"{stamp}  {out.paint(line(entry), 'dim')}")
            out.out.flush()
        if screen is not None or git is not None:
            for text in (screen or git).finish():  # type: ignore[union-attr]
                out.line(f"            {text}")
        elif unseen:
            out.line(f"            ({amount(unseen)} went to the client: recorder cat shows them)")
    except FormatError as error:
        out.out.flush()
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    end = recording.end
    if end is None:
        out.line("(still open)")
        return INCOMPLETE
    out.line(out.paint(f"{end.at / 1e9:10.3f}  {end.status}: {one_line(end.reason)}", "dim"))
    return INCOMPLETE if end.status == "recovered" else OK
