"""Options that choose among recordings."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from recorder.catalog import VERDICT_NAMES, Line
from recorder.commands.opening import complain
from recorder.index.answer import URL, Answer
from recorder.index.wanted import Pattern, Wanted, Words

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """``2h`` (ago), ``2026-11-23`` or ``2026-11-23T08:30:00Z``."""
    found = _SPAN.fullmatch(text)
    if found:
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            raise argparse.ArgumentTypeError(f"too long ago: {text}") from None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time (2h, 2026-11-23): {text}") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def tag(text: str) -> tuple[str, str]:
    """``key=value``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"not key=value: {text}")
    return key, value


def count(text: str) -> int:
    """How many: 0 is all."""
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"not a number: {text}")
    return int(text)


def words(text: str) -> Words:
    """Words to look for."""
    try:
        return Words(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: {text}") from None


def pattern(text: str) -> Pattern:
    """An RE2 pattern."""
    try:
        return Pattern(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_sessions(parser: argparse.ArgumentParser, *, plain: bool = False) -> None:
    """Declare those about whole sessions. ``plain``: only who, where and when."""
    group = parser.add_argument_group("which sessions")
    group.add_argument("--principal", metavar="SUBJECT", help="who: the exact subject")
    group.add_argument("--group", metavar="NAME", help="who: a member of it")
    group.add_argument("--run", metavar="RUN", help="the CI run or agent task")
    group.add_argument("--tag", metavar="K=V", type=tag, action="append", default=[])
    group.add_argument("--target", metavar="NAME")
    group.add_argument(
        "--database", "--repository", metavar="NAME", help="the database or the repository"
    )
    group.add_argument("--protocol", metavar="NAME")
    group.add_argument("--status", choices=("closed", "terminated", "recovered", "open", "damaged"))
    group.add_argument("--since", metavar="TIME", type=moment, help="2h, 3d, or a date (UTC)")
    group.add_argument("--until", metavar="TIME", type=moment)
    if plain:
        return
    group.add_argument("--denied", action="store_true", help="with a blocked command")
    group.add_argument("--held", action="store_true", help="with a held command")
    group.add_argument("--masked", action="store_true", help="with a masked result")
    group.add_argument(
        "--approval", metavar="WHAT", help="with an approval: its id, its state, or who decided"
    )


def add_filters(parser: argparse.ArgumentParser, *, patterns: bool = True) -> None:
    """Declare all. ``patterns``: with ``--regex``."""
    add_sessions(parser)
    group = parser.add_argument_group("by what was done (all of these about the same command)")
    group.add_argument("--verdict", choices=VERDICT_NAMES)
    group.add_argument("--rule", metavar="ID", help="a rule that decided")
    group.add_argument(
        "--text", metavar="WORDS", type=words,
        help='words, all of them in any order; "some words" in a row; sel* for a beginning',
    )  # fmt: skip
    if patterns:
        group.add_argument("--regex", metavar="PATTERN", type=pattern, help="an RE2 pattern")
    parser.add_argument("--limit", type=count, default=0, metavar="N", help="only the newest N")
    parser.add_argument(
        "--no-index", action="store_true", help="read every Log instead of the index: slow"
    )


def wanted_of(args: argparse.Namespace, searched: Pattern | None = None) -> Wanted:
    """What the options ask for; ``searched`` instead of ``--regex``."""
    return Wanted(
        principal=args.principal,
        group=args.group,
        run=args.run,
        tags=tuple(args.tag),
        target=args.target,
        database=args.database,
        protocol=args.protocol,
        status=args.status,
        since=args.since,
        until=args.until,
        denied=getattr(args, "denied", False),
        held=getattr(args, "held", False),
        masked=getattr(args, "masked", False),
        approval=getattr(args, "approval", None),
        verdict=getattr(args, "verdict", None),
        rule=getattr(args, "rule", None),
        text=getattr(args, "text", None),
        pattern=searched or getattr(args, "regex", None),
    )


def answer(args: argparse.Namespace, searched: Pattern | None = None) -> Answer:
    """The answer to them. OSError when there is no state directory: nothing found in the
    wrong place is no answer."""
    if not args.dir.is_dir() and URL not in os.environ:
        raise FileNotFoundError(
            f"there is no state directory {args.dir}: name it with --dir or WIREWARDEN_STATE"
        )
    return Answer(args.dir, wanted_of(args, searched), complain, args.no_index)


def chosen(args: argparse.Namespace) -> Iterator[Line]:
    """The sessions that the options choose, by the time they began."""
    yield from answer(args).lines(args.limit)
