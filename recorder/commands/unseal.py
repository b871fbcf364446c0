"""recorder unseal: the originals behind masks, for an auditor."""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder.commands.auditor import add_keys, opener_for
from recorder.commands.opening import (
    DAMAGED,
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
from recorder.render import Printer, cell, one_line
from recorder.unsealed import Kept, kept_of, matches

DIFFERENT = 5


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "unseal",
        help="the originals behind masks, with an auditor's key",
        description="One line for each span of bytes that was masked (and, where the gateway "
        "seals them, each credential that it showed an upstream): when, on which hop, its offset "
        "and length there, and the bytes. Where originals are withheld, only commitments to them "
        "are kept: --candidate says whether bytes that you have are what was there. Exit code 6: "
        "nothing that was given opens them, 5: a candidate is not what was there.",
    )
    add_id(parser)
    add_keys(parser, "which opens them")
    parser.add_argument("--candidate", type=Path, metavar="FILE",
        help="bytes to compare with commitments: a span's, or all of a hop")  # fmt: skip
    add_json(parser)
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Open them."""
    if args.candidate is not None and not args.key:
        complain("a commitment is checked with the auditor's key: give --key")
        return USAGE
    recording = recording_of(args)
    header = recording.header
    if not args.key:
        auditors = header.get("keys")
        names = [str(each.get("auditor")) for each in auditors] if auditors else []
        whose = f"sealed to {one_line(', '.join(names))}" if names else "and there are no auditors"
        complain(f"originals are opened with an auditor's private key (--key FILE): {whose}")
        return MISSING_KEY
    try:
        opener = opener_for(args, recording)
    except MissingKeyError as error:
        complain(str(error))
        return MISSING_KEY
    assert opener is not None
    candidate = None if args.candidate is None else args.candidate.read_bytes()
    try:
        return _tell(args, recording, opener, candidate)
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED


def _tell(
    args: argparse.Namespace, recording: Recording, opener: Opener, candidate: bytes | None
) -> int:
    out, code, count, withheld = Printer(), OK, 0, 0
    for kept in kept_of(recording, opener):
        count += 1
        found: bool | None = None
        if kept.kept == "withheld":
            withheld += 1
            found = None if candidate is None else matches(opener, kept, candidate)
            code = DIFFERENT if candidate is not None and found is not True else code
        elif kept.raw is None:
            code = MISSING_KEY
        if args.json:
            out.json(
                "original",
                {
                    "at": kept.at / 1e9,
                    "leg": kept.leg,
                    "side": kept.way,
                    "offset": kept.offset,
                    "length": kept.length,
                    "what": kept.what,
                    "kept": kept.kept,
                    "original": kept.raw,
                    "text": _text(kept.raw),
                    "why": kept.why,
                    "is_candidate": found,
                },
            )
            continue
        where = f"{kept.leg} {kept.way}"
        out.line(
            f"{kept.at / 1e9:9.3f}s  {where:<12}  {kept.offset}+{kept.length}  {kept.what}  "
            + _said(kept, found, candidate is not None)
        )
    if not count:
        complain("nothing is masked in it")
    elif withheld and candidate is None:
        complain(
            f"{withheld} originals are withheld for good: only commitments to them are kept "
            "(--candidate FILE compares)"
        )
        code = MISSING_KEY
    return code


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def _said(kept: Kept, found: bool | None, compared: bool) -> str:
    if kept.raw is not None:
        return cell(kept.raw.decode("utf-8", "surrogateescape"))
    if kept.kept == "withheld" and compared:
        words = {True: "withheld: it is the candidate", False: "withheld: not the candidate"}
        return words.get(bool(found), "") if found is not None else "withheld: no candidate for it"
    return f"({kept.why})"
