"""recorder verify: is it what was written?"""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder import verify as checks
from recorder.away import AwayError
from recorder.catalog import instant
from recorder.commands.judging import Judging
from recorder.commands.opening import ERROR, OK, USAGE, add_json, complain, path_of_stdin
from recorder.commands.trust import add_kept, add_trust, trust_of
from recorder.errors import UnknownSessionError
from recorder.evidence.judge import Judge, unanchored
from recorder.evidence.proof import check_proof
from recorder.evidence.watch import Watch
from recorder.live import live_sessions
from recorder.reader import every_log, goes_on
from recorder.render import Printer, one_line
from recorder.state import session_of

_STYLE = {
    checks.ANCHORED: "green",
    checks.OK: "green",
    checks.DELETED: "yellow",
    checks.INCOMPLETE: "yellow",
    checks.UNKNOWN_KEY: "red",
    checks.CORRUPT: "red",
    checks.TAMPERED: "red",
}
_GRAVITY = (0, 1, 3, 6, 4)
"""Exit codes, the worst last."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="check that recordings are what was written",
        description="Checks every byte of recordings (checksums, the hash chain, the order of "
        "records, byte counts), and what the ledger says of them. OK: somebody outside vouches "
        "for the ledger that has it. OK-UNANCHORED: nobody does. INCOMPLETE (3): an authentic "
        "beginning. CORRUPT (4): damage. TAMPERED (4): altered, replaced, removed, or unknown to "
        "the ledger. UNKNOWN-KEY (6): another ledger than the trusted one.",
    )
    parser.add_argument("id", metavar="ID", nargs="*", help="sessions, paths to Logs, or -")
    parser.add_argument(
        "--all", action="store_true", help="every recording, and those that should be there"
    )
    parser.add_argument("--log", action="store_true", help="the ledger itself, all of it")
    parser.add_argument(
        "--proof",
        type=Path,
        metavar="FILE",
        help="judge one copied Log by what recorder proof wrote",
    )
    add_trust(parser)
    add_kept(parser)
    add_json(parser)
    parser.set_defaults(do=run)


class _Report:
    """Prints verdicts, and remembers the worst."""

    def __init__(self, json: bool) -> None:
        self.out = Printer()
        self.json = json
        self.worst = OK
        self.counts: dict[str, int] = {}
        self.scopes: dict[str, int] = {}

    def failed(self, code: int) -> None:
        self.worst = max(self.worst, code, key=_GRAVITY.index)

    def add(self, name: str, verdict: checks.Verdict) -> None:
        self.failed(checks.EXIT[verdict.status])
        self.counts[verdict.status] = self.counts.get(verdict.status, 0) + 1
        self.scopes[verdict.scope] = self.scopes.get(verdict.scope, 0) + 1
        if self.json:
            self.out.json(
                "verdict",
                {
                    "name": name,
                    "session": verdict.session,
                    "status": verdict.status,
                    "message": verdict.message,
                    "offset": verdict.offset,
                    "part": verdict.part,
                    "good_records": verdict.records,
                    "scope": verdict.scope,
                },
            )
            return
        where = "" if verdict.offset is None else f" at byte {verdict.offset}"
        where += f" of part {verdict.part}" if where and verdict.part else ""
        painted = self.out.paint(verdict.status, _STYLE[verdict.status])
        shown = verdict.session or name
        self.out.line(f"{one_line(shown)}: {painted}{where}: {one_line(verdict.message)}")

    def close(self, ledger: str) -> int:
        if not self.json and sum(self.counts.values()) > 1:
            self.out.line(", ".join(f"{n} {status}" for status, n in sorted(self.counts.items())))
        if not self.json and self.counts:
            scopes = [scope for scope in self.scopes if scope]
            if ledger and len(scopes) > 1:
                scopes = [ledger]
            for scope in scopes:
                self.out.line(f"scope: {one_line(scope)}")
        return self.worst


def run(args: argparse.Namespace) -> int:
    """Verify what is named; the exit code is the worst."""
    if not args.log and args.all == bool(args.id):
        complain("name recordings, or give --all or --log")
        return USAGE
    if args.proof is not None and (len(args.id) != 1 or args.trust is None or args.kept):
        complain("--proof judges one Log, by --trust ROOT.pub (--kept is for a ledger)")
        return USAGE
    try:
        trust = trust_of(args)
    except ValueError as error:
        complain(f"a key can't be used: {error}")
        return ERROR
    report = _Report(args.json)
    if args.proof is not None:
        path = path_of_stdin() if args.id[0] == "-" else Path(args.id[0])
        report.add(args.id[0], check_proof(path, args.proof.read_bytes(), trust))
        return report.close("")
    if args.all and not args.dir.is_dir():
        complain(f"there is no state directory {args.dir}: name it with --dir or WIREWARDEN_STATE")
        return ERROR
    judging = Judging(args.dir, trust, args.log)
    if (args.log or args.all) and not judging.ledger:
        if trust.root is not None:
            text = "there is no ledger here, though its key is trusted"
            report.add("ledger", checks.Verdict(checks.TAMPERED, text, ""))
        elif args.log:
            complain(f"{args.dir} has no ledger")
            return ERROR
    judge = judging.judge() if args.all or args.log else None
    if judge is None and judging.fault is not None:
        report.add("ledger", judging.fault)
    if args.log and judge is not None:
        _tell_ledger(report, judge)
    names = args.id
    if args.all:
        names = _every(args.dir, judge)
    told = judging.fault
    for name in names:
        try:
            verdict = judging.verdict(name)
            if judging.fault is not told:
                told = judging.fault
                if told is not None:
                    report.add("ledger", told)
            report.add(name, verdict)
        except UnknownSessionError as error:
            judge = judging.judge()
            gone = None if judge is None else judge.gone(name)
            if gone is not None:
                report.add(gone.session, gone)
                continue
            complain(str(error))
            report.failed(ERROR)
        except BrokenPipeError:  # nobody reads on
            raise
        except OSError as error:  # of the others something can be said
            complain(str(error) if isinstance(error, AwayError) else f"{name}: {error}")
            report.failed(ERROR)
    if args.all and judge is not None:
        for verdict in judging.missing():
            report.add(verdict.session, verdict)
    return report.close(judging.scope)


def _tell_ledger(report: _Report, judge: Judge) -> None:
    watch = judge.watch
    assert isinstance(watch, Watch)
    said = watch.checkpoint
    message = f"{said.size} leaves, {len(watch.sessions)} sessions, epoch {said.epoch}"
    message += f", signed {instant(said.at)}, {len(judge.anchors)} anchors"
    for index, leaf in watch.gaps.get("", []):
        message += f"; a gap at leaf {index}: {leaf.text('reason')}"
    if watch.silences:
        longest = max(watch.silences, key=lambda silence: silence[1])
        message += f"; {len(watch.silences)} silences of over 10 minutes, the longest"
        message += f" {longest[1] // 60_000_000_000} minutes before leaf {longest[0]}"
    for doubt in judge.doubts:
        message += f"; {doubt}"
    anchored = any(anchor.size == said.size for anchor in judge.anchors)
    scope = f"the ledger {watch.chain.origin}: "
    scope += "anchored whole" if anchored else unanchored(watch, judge.anchors)
    status = checks.ANCHORED if anchored else checks.OK
    report.add("ledger", checks.Verdict(status, message, "", scope=scope))


def _every(state: Path, judge: Judge | None) -> list[str]:
    """Paths of Logs, and the ids of sessions of which only a journal has all."""
    live = {str(s.header["session"]) for s in live_sessions(state / "journal")}
    if judge is not None:
        live = {name for name in live if not judge.sealed(name)}
    logs = [path for path in every_log(state) if not goes_on(path, live)]
    live -= set(map(session_of, logs))
    return [*map(str, logs), *sorted(live)]
