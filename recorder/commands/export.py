"""recorder export: a recording in another format."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from protocols.wire import Side
from recorder.catalog import describe
from recorder.commands.opening import (
    DAMAGED,
    ERROR,
    INCOMPLETE,
    OK,
    USAGE,
    add_id,
    complain,
    recording_of,
)
from recorder.commands.pacing import Keyboard, Pace
from recorder.commands.play import perform
from recorder.errors import FormatError
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import has_ledger
from recorder.evidence.proof import make_proof
from recorder.evidence.watch import LedgerFault, Watch
from recorder.export import asciicast, bundle, ocsf, pcapng
from recorder.live import LiveSession
from recorder.reader import Recording
from recorder.render import Printer, jsonable, one_line

FORMATS = ("ndjson", "asciicast", "pcapng", "bundle")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "export",
        help="a recording in another format",
        description="ndjson: one OCSF 1.1 event per command (Datastore Activity, of git API "
        "Activity), for SIEMs. asciicast: what recorder play shows, for asciinema (v2). pcapng: "
        "one leg's bytes as TCP, for Wireshark (without TLS, addresses made up; what is not on "
        "record is zeros, with a comment). Nothing behind masks is in these. bundle: a tar of "
        "the Log as it is, its proof from the ledger, its commands as ndjson, and how to verify it "
        "elsewhere (exit code 3: without a proof).",
    )
    add_id(parser)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--leg", choices=("client", "upstream"), default="client",
        help="of pcapng (default: client)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Write it."""
    if args.output is None and args.format in ("pcapng", "bundle") and sys.stdout.isatty():
        complain(f"{args.format} is no text: give -o FILE, or redirect it")
        return USAGE
    recording = recording_of(args)
    if args.format == "bundle" and isinstance(recording, LiveSession):
        complain("the session has no Log yet: it goes on, or waits to be sealed")
        return ERROR
    if args.output is None:
        return _write(args, recording, sys.stdout.buffer)
    with args.output.open("xb") as out:
        return _write(args, recording, out)


def _write(args: argparse.Namespace, recording: Recording, out: BinaryIO) -> int:
    try:
        for piece in _pieces(args, recording):
            out.write(piece)
    except FormatError as error:
        out.flush()
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    out.flush()
    if args.format == "bundle" and not args.proven:
        complain("the ledger proves nothing of this session: the bundle verifies unanchored only")
        return INCOMPLETE
    end = recording.peek_end()
    if end is None or end.status == "recovered":
        complain("the session has no regular end: there may have been more")
        return INCOMPLETE
    return OK


def _pieces(args: argparse.Namespace, recording: Recording) -> Iterator[bytes]:
    if args.format == "pcapng":
        yield from pcapng.pcapng(recording, Side.CLIENT if args.leg == "client" else Side.UPSTREAM)
        return
    if args.format == "bundle":
        yield _bundle(args, recording)
        return
    if args.format == "ndjson":
        for event in ocsf.events(recording):
            yield json.dumps(jsonable(event), separators=(",", ":")).encode() + b"\n"
        return
    about = describe(recording)
    title = one_line(f"{about.principal} on {about.target}, {about.session}")
    clock = _Clock(0.0, None, Keyboard(False))
    sheet = _Sheet(clock)
    shown = argparse.Namespace(id=args.id, dir=args.dir, rows=50, events=False)
    perform(shown, Printer(sheet), clock)
    wall = int(recording.header["wall"])
    for line in asciicast.asciicast(title, wall, sheet.lines):
        yield line.encode() + b"\n"


def _bundle(args: argparse.Namespace, recording: Recording) -> bytes:
    session = str(recording.header["session"])
    proof: bytes | None = None
    try:
        if has_ledger(args.dir):
            proof = make_proof(Watch(ledger_directory(args.dir)), session)
    except LedgerFault as fault:
        complain(f"the ledger is {fault.status}: {fault.reason}")
    args.proven = proof is not None
    events = b"".join(
        json.dumps(jsonable(event), separators=(",", ":")).encode() + b"\n"
        for event in ocsf.events(recording)
    )
    return bundle.bundle(
        session, recording.path.read_bytes(), proof, events,
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

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self._clock = clock

    def write(self, text: str) -> int:
        self.lines += [(self._clock.now, line) for line in text.rstrip("\n").split("\n")]
        return len(text)
