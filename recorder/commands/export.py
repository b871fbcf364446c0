"""recorder export: a recording in another format."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from protocols.wire import Side
from recorder.away import open_log
from recorder.catalog import Line, describe
from recorder.commands.filters import add_filters, answer, wanted_of
from recorder.commands.opening import (
    DAMAGED,
    ERROR,
    INCOMPLETE,
    OK,
    USAGE,
    complain,
    recording_of,
    told_end,
)
from recorder.commands.pacing import Keyboard, Pace
from recorder.commands.play import perform
from recorder.errors import FormatError, UnknownSessionError
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import has_ledger
from recorder.evidence.proof import make_proof
from recorder.evidence.watch import LedgerFault, Watch
from recorder.export import asciicast, bundle, ocsf, parquet, pcapng
from recorder.export import commands as export_commands
from recorder.index.wanted import Wanted
from recorder.live import LiveSession
from recorder.parted import files_of
from recorder.reader import Recording
from recorder.render import Printer, jsonable, one_line

FORMATS = ("ndjson", "parquet", "asciicast", "pcapng", "bundle")
_MANY = ("ndjson", "parquet")
"""Formats that hold any number of sessions."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "export",
        help="recordings in another format",
        description="ndjson: one OCSF 1.1 event per command (Datastore Activity, of git API "
        "Activity), for SIEMs. parquet: one row per command, for DuckDB, pandas and the like "
        "(needs wirewarden[parquet]). These two take any number of sessions: those named, or all "
        "that the filters choose, whole. asciicast: what recorder play shows, for asciinema (v2). "
        "pcapng: one leg's bytes as TCP, for Wireshark (without TLS, addresses made up; what is "
        "not on record is zeros, with a comment). Nothing behind masks is in these. bundle: a tar "
        "of the Log as it is, its proof from the ledger, its commands as ndjson, and how to "
        "verify it elsewhere (exit code 3: without a proof); without the wrapped keys, so what is "
        "sealed stays so.",
    )
    parser.add_argument(
        "id", metavar="ID", nargs="*", help="a session's id or the start of it, a path to a Log, "
        "or - (stdin); none: what the filters choose (ndjson and parquet)",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--leg", choices=("client", "upstream"), default="client",
        help="of pcapng (default: client)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    add_filters(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Write it."""
    names = list(args.id)
    if args.output == Path("-"):
        args.output = None
    if args.format not in _MANY and len(names) != 1:
        complain(f"{args.format} is of one session: name it")
        return USAGE
    if names and wanted_of(args) != Wanted():
        complain("name sessions or give filters, not both")
        return USAGE
    if args.output is None and args.format not in ("ndjson", "asciicast") and sys.stdout.isatty():
        complain(f"{args.format} is no text: give -o FILE, or redirect it")
        return USAGE
    if args.format in _MANY:
        return _many(args, names)
    args.id = names[0]
    recording = recording_of(args)
    if args.format == "bundle" and isinstance(recording, LiveSession):
        complain("the session has no Log yet: it goes on, or waits to be sealed")
        return ERROR
    if args.output is None:
        return _write(args, recording, sys.stdout.buffer)
    with args.output.open("xb") as out:
        return _write(args, recording, out)


def _many(args: argparse.Namespace, names: list[str]) -> int:
    """Those of ``names``; none: those that the filters choose."""
    args.worst = OK
    try:
        with contextlib.ExitStack() as stack:
            if args.output is None:
                out: BinaryIO = sys.stdout.buffer
            else:
                out = stack.enter_context(_whole(args.output))
            if args.format == "parquet":
                sheet = stack.enter_context(parquet.Sheet(out))
                for recording in _each(args, names):
                    _told(args, recording, lambda r: sheet.add(export_commands.rows(r)))
            else:
                for recording in _each(args, names):
                    _told(args, recording, lambda r: out.writelines(_ndjson(r)))
    except parquet.NoParquetError as error:
        complain(str(error))
        return ERROR
    sys.stdout.flush()
    return int(args.worst)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A new file, which goes when it is not finished."""
    with path.open("xb") as out:
        try:
            yield out
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _each(args: argparse.Namespace, names: list[str]) -> Iterator[Recording]:
    """What can't be opened is told, and the rest goes on."""
    for name in names or [line.session for line in _chosen(args)]:
        try:
            recording = recording_of(argparse.Namespace(dir=args.dir, id=name))
        except UnknownSessionError as error:
            complain(str(error))
            args.worst = max(args.worst, ERROR)
            continue
        except (FormatError, OSError) as error:
            complain(f"{one_line(name)}: can't be read: {one_line(str(error))}")
            torn = isinstance(error, FormatError) and error.torn
            args.worst = max(args.worst, INCOMPLETE if torn else DAMAGED)
            continue
        try:
            yield recording
        finally:
            recording.close()


def _chosen(args: argparse.Namespace) -> list[Line]:
    answers = answer(args)
    lines = answers.lines(args.limit)
    for session, why in answers.breaks.items():
        complain(f"{one_line(session)}: not all of it could be searched: {one_line(why)}")
        args.worst = INCOMPLETE
    return lines


def _told(
    args: argparse.Namespace, recording: Recording, tell: Callable[[Recording], object]
) -> None:
    """``tell`` of it; where it breaks, what is before stays."""
    session = one_line(str(recording.header["session"]))
    try:
        tell(recording)
    except FormatError as error:
        complain(f"{session}: the recording breaks here: {error}")
        args.worst = max(args.worst, INCOMPLETE if error.torn else DAMAGED)
        return
    end = recording.peek_end()
    if end is None and isinstance(recording, LiveSession) and not args.id:
        complain(f"{session}: still open: what it did so far")
    else:
        args.worst = max(args.worst, told_end(end, f"{session}:"))


def _ndjson(recording: Recording) -> Iterator[bytes]:
    for event in ocsf.events(recording):
        yield json.dumps(jsonable(event), separators=(",", ":")).encode() + b"\n"


def _write(args: argparse.Namespace, recording: Recording, out: BinaryIO) -> int:
    leg = Side.CLIENT if args.leg == "client" else Side.UPSTREAM
    try:
        if args.format == "bundle":
            _bundle(args, recording, out)
        elif args.format == "pcapng":
            out.writelines(pcapng.pcapng(recording, leg))
        elif _asciicast(args, recording, out) == DAMAGED:
            return DAMAGED
    except FormatError as error:
        out.flush()
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    out.flush()
    if args.format == "bundle" and not args.proven:
        complain("the ledger proves nothing of this session: the bundle verifies unanchored only")
        return INCOMPLETE
    return told_end(recording.peek_end())


def _asciicast(args: argparse.Namespace, recording: Recording, out: BinaryIO) -> int:
    """Write it; what ``recorder play`` makes of the session."""
    about = describe(recording)
    title = one_line(f"{about.principal} on {about.target}, {about.session}")
    out.write(asciicast.head(title, int(recording.header["wall"])).encode() + b"\n")
    clock = _Clock(0.0, None, Keyboard(False))
    shown = argparse.Namespace(id=args.id, dir=args.dir, rows=50, events=False)
    return perform(shown, Printer(_Sheet(clock, out)), clock)


def _bundle(args: argparse.Namespace, recording: Recording, out: BinaryIO) -> None:
    session = str(recording.header["session"])
    proof: bytes | None = None
    try:
        if has_ledger(args.dir):
            proof = make_proof(Watch(ledger_directory(args.dir)), session)
    except LedgerFault as fault:
        complain(f"the ledger is {fault.status}: {fault.reason}")
    args.proven = proof is not None
    events = b"".join(_ndjson(recording))
    with contextlib.ExitStack() as stack:
        logs = {}
        for path in files_of(recording.path):
            logs[path.name] = open_log(path)
            stack.callback(os.close, logs[path.name])
        bundle.bundle(
            out, session, logs, proof, events,
            files("recorder").joinpath("evidence", "independent_verifier.py"),
            int(recording.header["wall"]) // 10**9,
        )  # fmt: skip


class _Clock(Pace):
    """Waits never, and knows what time it is in the session."""

    now = 0

    def until(self, at: int, command: bool = False) -> None:
        self.now = at


class _Sheet(io.StringIO):
    """Takes down each line, and when it is shown."""

    def __init__(self, clock: _Clock, out: BinaryIO) -> None:
        super().__init__()
        self._clock = clock
        self._out = out

    def write(self, text: str) -> int:
        for line in text.rstrip("\n").split("\n"):
            self._out.write(asciicast.shown(self._clock.now, line).encode() + b"\n")
        return len(text)
