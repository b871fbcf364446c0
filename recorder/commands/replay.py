"""recorder replay: a recorded client's side against a live server."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from protocols.errors import WireError
from protocols.wire import Side
from recorder.catalog import describe
from recorder.commands import driving, replay_git, target
from recorder.commands.auditor import add_keys, opener_for
from recorder.commands.opening import (
    DAMAGED,
    ERROR,
    INCOMPLETE,
    MISSING_KEY,
    OK,
    USAGE,
    add_id,
    add_json,
    complain,
    recording_of,
)
from recorder.errors import FormatError, MissingKeyError
from recorder.originals import Opener
from recorder.reader import Recording
from recorder.render import Printer, one_line
from recorder.replay.compare import DECLARED, DEFAULT, Comparer
from recorder.replay.engine import Place, Replay
from recorder.replay.login import Entry, Refused, compare_login
from recorder.replay.messages import UnreadableError
from recorder.replay.report import DIFFERENT, Item, Status, Tally
from recorder.replay.script import Script

DIVERGED = 5
_SAME = 10
"""Findings of one kind in a row that are told one by one."""
_PAINT = {Status.UNKNOWN: "yellow", Status.NORMALISED: "dim", Status.EQUAL: "dim"}


def pace(text: str) -> tuple[float, bool]:
    """Factor, and whether answers are waited for."""
    if text in ("original", "causal", "max"):
        return (1.0 if text == "original" else 0.0), text != "max"
    word, _, number = text.partition("=")
    try:
        factor = float(number)
    except ValueError:
        factor = 0.0
    if word != "scaled" or not 0.001 <= factor <= 10_000:
        raise argparse.ArgumentTypeError(f"not original, scaled=N, causal or max: {text}")
    return factor, True


def where(text: str) -> tuple[str, int]:
    """``HOST:PORT``."""
    try:
        return target.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    """Seconds, more than none."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"not a time in seconds: {text}")
    return value


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "replay",
        help="run a recorded session again, against a live server, and compare",
        description="Sends what the recorded client's side sent (postgres) to a live server, after "
        "a login of its own, and compares what the server says, message by message. It RUNS the "
        "recorded commands, writes too. Exit code 0: all equal, 5: there are differences, "
        "3: no difference, but not all that was said then is on record. What a new policy would "
        "have said of recorded commands: gateway policy replay.",
    )
    add_id(parser)
    target_of = parser.add_mutually_exclusive_group(required=True)
    target_of.add_argument("--to", type=where, metavar="HOST:PORT", help="a PostgreSQL server")
    target_of.add_argument("--program", metavar="COMMAND",
        help="of a git session: the service, such as 'git-upload-pack /srv/copy.git', or ssh with "
        "it; for a push a copy from before it (and --i-understand-writes)")  # fmt: skip
    target_of.add_argument("--policy", type=Path, metavar="FILE",
        help="send nothing: judge its commands by this policy (gateway policy replay)")  # fmt: skip
    parser.add_argument("--i-understand-writes", action="store_true",
        help="go to another machine than this one")  # fmt: skip
    parser.add_argument("--read-only", action="store_true",
        help="ask the server for read-only transactions (a session can undo that)")  # fmt: skip
    parser.add_argument("--leg", choices=("upstream", "client"), default="upstream",
        help="what the gateway sent to the server (default), or the client to it")  # fmt: skip
    parser.add_argument("--user", help="default: as recorded")
    parser.add_argument("--database", help="default: as recorded")
    parser.add_argument("--password-file", type=Path, metavar="FILE",
        help="default: the environment's PGPASSWORD")  # fmt: skip
    parser.add_argument("--tls", choices=target.TLS_MODES, default="prefer",
        help="default: prefer")  # fmt: skip
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates to trust (PEM)")
    parser.add_argument("--pace", type=pace, default=(0.0, True), metavar="HOW",
        help="causal (default): each message when the server has answered as far as it had then; "
        "original, scaled=N (also by the clock), max")  # fmt: skip
    parser.add_argument("--jump-idle", action="store_true", help="cut long pauses short")
    parser.add_argument("--timeout", type=positive, default=30.0, metavar="SECONDS",
        help="give up after this much silence (default 30)")  # fmt: skip
    parser.add_argument("--exact", action="store_true", help="normalise nothing")
    parser.add_argument("--normalise", choices=DECLARED, action="append", default=[],
        metavar="WHAT", help=f"also take for equal: {', '.join(DECLARED)} (repeat)")  # fmt: skip
    parser.add_argument("--learn", action="store_true",
        help="run it twice: what differs between the two runs changes by its nature, and is taken "
        "for equal (normaliser: learned)")  # fmt: skip
    parser.add_argument("--ignore-column", action="append", default=[], metavar="NAME",
        help="don't compare values of result columns with this name (repeat)")  # fmt: skip
    add_keys(parser, "to compare sealed originals too")
    parser.add_argument("--all", action="store_true", help="tell of equal messages too")
    add_json(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Replay it."""
    if args.policy is not None:
        return _policy(args)
    recording = recording_of(args)
    about = describe(recording)
    if about.protocol != ("postgres" if args.to else "git-ssh"):
        option, other = ("--to", "--program") if args.to else ("--program", "--to")
        other = f" (but with {other})" if about.protocol in ("postgres", "git-ssh") else ""
        protocol = one_line(about.protocol) or "?"
        complain(f"sessions of {protocol} can't be replayed with {option}{other}")
        return USAGE
    try:
        opener = opener_for(args, recording)
    except MissingKeyError as error:
        complain(str(error))
        return MISSING_KEY
    if args.program:
        return _git(args, recording, opener)
    try:
        to = target.look_up(*args.to)
        if not args.i_understand_writes and not to.near:
            complain(f"{args.to[0]} is not this machine, and a replay runs the recorded commands, "
                     "writes too: --i-understand-writes goes there")  # fmt: skip
            return USAGE
        password = os.environ.get("PGPASSWORD", "").encode("utf-8", "surrogateescape")
        if args.password_file is not None:
            password = args.password_file.read_bytes().rstrip(b"\r\n")
        run = _Run(args, to, lambda: Script(recording, _side(args), opener), about.session)
        return run.go(password)
    except (UnreadableError, Refused, WireError, ValueError) as error:
        complain(str(error))
        return ERROR
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED


def _policy(args: argparse.Namespace) -> int:
    """Policies are the gateway's: it is asked by its own command, where it is installed."""
    words = ["policy", "replay", str(args.policy), "--session", args.id, "--dir", str(args.dir)]
    words += ["--all"] * args.all + ["--json"] * args.json
    for found in entry_points(group="console_scripts", name="gateway"):
        code: int = found.load()(words)
        return code
    complain(f"the gateway is not installed here; where it is: gateway {shlex.join(words)}")
    return ERROR


def _git(args: argparse.Namespace, recording: Recording, opener: Opener | None) -> int:
    try:
        if replay_git.writes(recording) and not args.i_understand_writes:
            complain("the recorded session is a push: --i-understand-writes makes it again")
            return USAGE
        found = replay_git.replayed(
            recording, opener, args.program, args.timeout, args.exact
        )  # fmt: skip
    except (UnreadableError, ValueError, subprocess.SubprocessError) as error:
        complain(str(error))
        return ERROR
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    out, tally = Printer(), Tally(exchanges=1)
    for item in found:
        tally.add(item)
        if args.json and (args.all or item.status is not Status.EQUAL):
            out.json("replay-item", {"session": recording.header["session"], **item.as_dict()})
        elif not args.json and (args.all or item.status in DIFFERENT or item.message == "pack"):
            for text in item.lines():
                out.line(text)
    if args.json:
        out.json("replay-summary", {"session": recording.header["session"],
                                    "program": args.program, **tally.as_dict()})  # fmt: skip
    else:
        counts = ", ".join(f"{n} {status.value}" for status, n in tally.counts.items() if n)
        out.line(f"{tally.compared} lines and packs compared: {counts}")
    return DIVERGED if tally.different else OK


def _side(args: argparse.Namespace) -> Side:
    return Side.UPSTREAM if args.leg == "upstream" else Side.CLIENT


class _Run:
    def __init__(
        self,
        args: argparse.Namespace,
        to: target.Place,
        script: Callable[[], Script],
        session: str,
    ) -> None:
        self._args = args
        self._to = to
        self._script = script
        self._session = session
        self._out = Printer()
        self._exchange = -1
        self._alike: tuple[object, ...] = ()
        self._more = 0

    def go(self, password: bytes) -> int:
        args = self._args
        on = [] if args.exact else [*DEFAULT, *args.normalise]
        learned: dict[Place, bytes | None] | None = None
        if args.learn and not args.exact:
            learned = self._once(password, on, None, lambda _: None).got
            on.append("learned")
        return self._sum_up(self._once(password, on, learned, self._tell), sorted(on))

    def _once(
        self,
        password: bytes,
        on: list[str],
        learned: dict[Place, bytes | None] | None,
        tell: Callable[[Item], None],
    ) -> Replay:
        args, script = self._args, self._script()
        greeting = script.greet()
        entry = Entry(
            greeting,
            user=args.user or greeting.startup.get("user", ""),
            database=args.database or greeting.startup.get("database", "")
            or greeting.startup.get("user", ""),
            password=password,
            tls=args.tls,
            chance=driving.chance,
            near=self._to.near,
            more={"default_transaction_read_only": "on"} if args.read_only else None,
        )  # fmt: skip
        columns = () if args.exact else args.ignore_column
        comparer = Comparer(frozenset(on), frozenset(columns))
        factor, causal = args.pace
        replay = Replay(script.steps(), comparer, causal=causal, remap=not args.exact)
        replay.learned = learned
        line = driving.log_in(self._to, entry, lambda: target.context(args.tls, args.ca))
        with line.sock:
            for item in compare_login(greeting, entry.parameters, comparer):
                replay.tally.add(item)
                tell(item)
            driving.drive(
                line, replay, driving.Pace(factor, args.jump_idle), args.timeout,
                lambda: _each(tell, replay.items()),
            )  # fmt: skip
        return replay

    def _tell(self, item: Item) -> None:
        if item.status is Status.EQUAL and not self._args.all:
            return
        if self._args.json:
            self._out.json("replay-item", {"session": self._session, **item.as_dict()})
            return
        if item.status is Status.NORMALISED and not self._args.all:
            return
        if item.status is not Status.DIFFERS and not self._args.all and self._repeats(item):
            return
        self._tell_more()
        if item.exchange != self._exchange:
            self._exchange = item.exchange
            about = item.request or "(login)" if not item.exchange else item.request or "(?)"
            self._out.line(self._out.paint(f"{item.exchange:>5}  {one_line(about, 120)}", "bold"))
        style = "red" if item.status in DIFFERENT else _PAINT[item.status]
        for number, text in enumerate(item.lines()):
            more = f"  ({', '.join(item.normalisers)})" if item.normalisers and not number else ""
            self._out.line(
                "       " + (self._out.paint(text, style) if not number else text) + more
            )

    def _repeats(self, item: Item) -> bool:
        """One more of the same, after enough of them."""
        alike = (item.exchange, item.status, item.message)
        if alike != self._alike:
            self._tell_more()
            self._alike, self._more = alike, -_SAME
        self._more += 1
        return self._more > 0

    def _tell_more(self) -> None:
        if self._more > 0:
            self._out.line(f"       … {self._more} more like that")
        self._alike, self._more = ((), 0) if self._more > 0 else (self._alike, self._more)

    def _sum_up(self, replay: Replay, on: list[str]) -> int:
        tally = replay.tally
        self._tell_more()
        if self._args.json:
            self._out.json("replay-summary", {
                "session": self._session, "to": f"{self._args.to[0]}:{self._args.to[1]}",
                "leg": self._args.leg, "normalisers_on": on, **tally.as_dict(),
            })  # fmt: skip
        else:
            counts = [f"{n} {status.value}" for status, n in tally.counts.items() if n]
            asked = "1 request" if tally.exchanges == 1 else f"{tally.exchanges} requests"
            self._out.line(f"{asked}, {tally.compared} messages compared: "
                           f"{', '.join(counts) or 'nothing was said'}")  # fmt: skip
            if tally.normalisers:
                used = ", ".join(f"{name} {n}" for name, n in sorted(tally.normalisers.items()))
                self._out.line(f"normalised: {used}")
            if tally.not_sent:
                self._out.line(f"{tally.not_sent} messages of the client were not sent")
            if self._args.pace[0]:
                self._out.line(f"at most {tally.lag:.3f} s behind the recorded times")
        if tally.different:
            return DIVERGED
        return INCOMPLETE if tally.counts[Status.UNKNOWN] or tally.not_sent else OK


def _each(tell: Callable[[Item], None], items: list[Item]) -> None:
    for item in items:
        tell(item)
