"""Options that choose among recordings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from recorder.catalog import Line, catalog

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """``2h`` (ago), ``2026-11-23`` or ``2026-11-23T08:30:00Z``."""
    found = _SPAN.fullmatch(text)
    if found:
        back = timedelta(**{_UNITS[found[2]]: int(found[1])})
        return datetime.now(UTC) - back
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


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group("which sessions")
    group.add_argument("--principal", metavar="SUBJECT", help="who: the exact subject")
    group.add_argument("--run", metavar="RUN", help="the CI run or agent task")
    group.add_argument("--tag", metavar="K=V", type=tag, action="append", default=[])
    group.add_argument("--target", metavar="NAME")
    group.add_argument("--protocol", metavar="NAME")
    group.add_argument("--status", choices=("closed", "terminated", "recovered", "open", "damaged"))
    group.add_argument("--since", metavar="TIME", type=moment, help="2h, 3d, or a date (UTC)")
    group.add_argument("--until", metavar="TIME", type=moment)
    group.add_argument("--denied", action="store_true", help="with a blocked command")
    group.add_argument("--held", action="store_true", help="with a held command")
    group.add_argument("--masked", action="store_true", help="with a masked result")


def chosen(args: argparse.Namespace) -> Iterator[Line]:
    """The sessions that the options choose."""
    for line in catalog(args.dir):
        wanted = (
            (args.principal in (None, line.principal))
            and args.run in (None, line.run)
            and args.target in (None, line.target)
            and args.protocol in (None, line.protocol)
            and args.status in (None, line.status)
            and all(line.tags.get(key) == value for key, value in args.tag)
            and (args.since is None or line.begun >= args.since)
            and (args.until is None or line.begun < args.until)
            and (line.blocked or not args.denied)
            and (line.held or not args.held)
            and (line.masked or not args.masked)
        )
        if wanted:
            yield line
