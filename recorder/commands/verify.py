"""recorder verify: is it what was written?"""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder import verify as checks
from recorder.commands.opening import ERROR, OK, USAGE, add_json, complain, path_of_stdin
from recorder.errors import FormatError, UnknownSessionError
from recorder.live import live_sessions
from recorder.reader import every_log, open_recording
from recorder.render import Printer, one_line
from recorder.state import LOG_SUFFIX

_STYLE = {
    checks.OK: "green",
    checks.INCOMPLETE: "yellow",
    checks.CORRUPT: "red",
    checks.TAMPERED: "red",
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "verify",
        help="check that recordings are what was written",
        description="Checks every byte of recordings: checksums, the hash chain, the order of "
        "records, byte counts. Exit code 0: good. 3: INCOMPLETE (an authentic beginning). "
        "4: CORRUPT (damage) or TAMPERED (checksums hold, but parts do not belong together).",
    )
    parser.add_argument("id", metavar="ID", nargs="*", help="sessions, paths to Logs, or -")
    parser.add_argument("--all", action="store_true", help="every recording in the state directory")
    add_json(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Verify what is named; the exit code is the worst."""
    out = Printer()
    if args.all == bool(args.id):
        complain("name recordings, or give --all")
        return USAGE
    worst = OK
    counts: dict[str, int] = {}
    names = list(map(str, every_log(args.dir))) if args.all else args.id
    if args.all:
        sealed = {Path(name).stem for name in names}
        open_now = (s.header["session"] for s in live_sessions(args.dir / "journal"))
        names += [session for session in open_now if session not in sealed]
    for name in names:
        try:
            verdict = _verdict(args.dir, name)
        except UnknownSessionError as error:
            complain(str(error))
            worst = max(worst, ERROR)
            continue
        counts[verdict.status] = counts.get(verdict.status, 0) + 1
        worst = max(worst, checks.EXIT[verdict.status])
        _tell(out, args, name, verdict)
    if not args.json and len(names) > 1:
        out.line(", ".join(f"{n} {status}" for status, n in sorted(counts.items())))
    if not args.json and counts:
        out.line(f"scope: {checks.SCOPE}")
    return worst


def _tell(out: Printer, args: argparse.Namespace, name: str, verdict: checks.Verdict) -> None:
    if args.json:
        out.json(
            "verdict",
            {
                "name": name,
                "session": verdict.session,
                "status": verdict.status,
                "message": verdict.message,
                "offset": verdict.offset,
                "good_records": verdict.records,
                "scope": verdict.scope,
            },
        )
        return
    where = "" if verdict.offset is None else f" at byte {verdict.offset}"
    painted = out.paint(verdict.status, _STYLE[verdict.status])
    shown = verdict.session or name
    out.line(f"{one_line(shown)}: {painted}{where}: {one_line(verdict.message)}")


def _verdict(state: Path, name: str) -> checks.Verdict:
    if name == "-":
        return checks.verify_file(path_of_stdin())
    if name.endswith(LOG_SUFFIX) or "/" in name or Path(name).is_file():
        return checks.verify_file(Path(name))
    try:
        recording = open_recording(state, name)
    except FormatError as error:
        kind = checks.INCOMPLETE if error.torn else checks.CORRUPT
        return checks.Verdict(kind, error.reason, name, error.offset)
    try:
        return checks.verify(recording)
    finally:
        recording.close()
