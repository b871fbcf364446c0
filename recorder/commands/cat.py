"""recorder cat: the very bytes."""

from __future__ import annotations

import argparse
import sys

from protocols.wire import Side
from recorder import ssh_streams
from recorder.commands.auditor import add_keys, opener_for
from recorder.commands.opening import (
    DAMAGED,
    INCOMPLETE,
    MISSING_KEY,
    OK,
    USAGE,
    add_id,
    complain,
    recording_of,
    told_end,
)
from recorder.errors import FormatError, MissingKeyError
from recorder.render import one_line
from recorder.streams import Hop, Streams


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "cat",
        help="the exact bytes of one direction of one leg",
        description="Writes to stdout the exact bytes that came in from, or went out to, one "
        "side (--leg and --side). The legs of a git-ssh session are frames; --stream takes the "
        "bytes of one stream out of them: those on the client's leg, or with --leg upstream "
        "those on the upstream's. Bytes that are not on record (credentials; originals behind "
        "masks without the auditor's key) are left out; each place is named on stderr, and the "
        "exit code is 3. Raw bytes could act upon a terminal: to one it takes --raw.",
    )
    add_id(parser)
    parser.add_argument("--leg", choices=("client", "upstream"))
    parser.add_argument(
        "--side", choices=("in", "out"),
        help="in: what the gateway got from there; out: what it sent there",
    )  # fmt: skip
    parser.add_argument(
        "--stream", choices=ssh_streams.NAMES,
        help="only git's own bytes of this stream (git-ssh; instead of --side)",
    )  # fmt: skip
    parser.add_argument("--raw", action="store_true", help="also where stdout is a terminal")
    add_keys(parser, "to open sealed originals")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Write them."""
    if args.stream is None and (args.leg is None or args.side is None):
        complain("name --leg and --side, or --stream")
        return USAGE
    leg = Side.UPSTREAM if args.leg == "upstream" else Side.CLIENT
    if args.stream is not None and args.side is not None:
        way = "in" if ssh_streams.hop_of(args.stream, leg).arrives else "out"
        if way != args.side:
            complain(f"{args.stream} goes {way} on the {leg.name.lower()} leg")
            return USAGE
    if sys.stdout.isatty() and not args.raw:
        complain("raw bytes could act upon your terminal: redirect them, or say --raw")
        return USAGE
    recording = recording_of(args)
    protocol = recording.header.get("protocol")
    if args.stream is not None and protocol not in ssh_streams.PROTOCOLS:
        complain(f"{one_line(str(protocol))} has no streams within its legs: leave --stream out")
        return USAGE
    try:
        opener = opener_for(args, recording)
    except MissingKeyError as error:
        complain(str(error))
        return MISSING_KEY
    streams = Streams(recording, opener, credentials=True)
    if args.stream is not None:
        pieces = ssh_streams.stream(streams, args.stream, leg)
    else:
        pieces = streams.pieces(Hop(leg, args.side == "in"))
    code = OK
    try:
        for piece in pieces:
            if piece.raw is None:
                where = (
                    f"{piece.length} bytes at offset {piece.offset}" if piece.offset >= 0 else "?"
                )
                complain(f"left out {where}: {piece.why}")
                code = INCOMPLETE
            else:
                sys.stdout.buffer.write(piece.raw)
    except FormatError as error:
        sys.stdout.buffer.flush()
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    sys.stdout.buffer.flush()
    return told_end(recording.end) or code
