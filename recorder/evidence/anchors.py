"""Anchors: others' words that a checkpoint existed, beside the ledger.

``anchors/<size>.note`` is a checkpoint as it was; ``<size>.cosignatures`` are
a witness's lines over it, ``<size>.tsr`` an RFC 3161 response over SHA-256 of
the note's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from recorder.errors import FormatError
from recorder.evidence import merkle
from recorder.evidence.glance import Glance
from recorder.evidence.notes import (
    COSIGNATURE,
    Note,
    NoteError,
    cosigned_at,
    parse_checkpoint,
    parse_note,
    parse_signatures,
    parse_verifier_key,
    read_note,
)
from recorder.evidence.tiles import Tiles
from recorder.evidence.watch import LedgerFault, Watch, check_checkpoint
from recorder.files import read_file

_MOST = 1 << 18
CLOCKS_DIFFER = 600_000_000_000
"""Nanoseconds by which honest clocks may differ."""


class Anchor(NamedTuple):
    """``size`` leaves existed at ``at`` (Unix nanoseconds), says ``by``."""

    size: int
    at: int
    by: str


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe: the ledger's root key, a witness's verifier key,
    certificates (PEM) of time-stamping authorities, and a checkpoint of the ledger that was
    ``kept`` elsewhere since it was signed. An anchor by somebody whose
    key was not given anchors nothing: who rewrites a ledger can bring his own."""

    root: bytes | None = None
    witness: str | None = None
    tsa: bytes | None = None
    kept: bytes | None = None


def anchors_for(watch: Glance, index: int, trust: Trust) -> list[Anchor]:
    """Those that tell of leaf ``index``: the first that covers it and holds; and the last that
    holds, so that a ledger which was rolled back is found."""
    found = _kept(watch, trust)
    trust = replace(trust, kept=None)
    files = anchor_files(watch.directory)
    for some in (files[::-1], [path for path in files if int(path.stem) > index]):
        for path in some:
            anchors, _ = anchors_of(watch, trust, [path])
            found += anchors
            if anchors:
                break
    return found


def anchor_files(directory: Path) -> list[Path]:
    """The checkpoints that were anchored, oldest first."""
    return sorted((directory / "anchors").glob("[0-9]*.note"))


def anchors_of(
    watch: Watch | Glance, trust: Trust, files: list[Path] | None = None
) -> tuple[list[Anchor], list[str]]:
    """The anchors that hold (of ``files``, or all), and why others don't. ``LedgerFault``
    when one that holds contradicts the ledger: it was rewritten, or rolled back."""
    found = _kept(watch, trust)
    doubts: list[str] = []
    for path in anchor_files(watch.directory) if files is None else files:
        try:
            raw = read_note(path)
            note = parse_note(raw)
            anchors, doubt = check_anchor(
                note, raw, _bytes(path, ".cosignatures"), _bytes(path, ".tsr"), trust
            )
        except NoteError as error:
            doubts.append(f"{path.name}: {error}")
            continue
        doubts += [f"{path.name}: {text}" for text in doubt]
        if not anchors:
            continue
        _check_goes_on(watch, note, anchors[0].by)
        found += anchors
    return found, doubts


def _kept(watch: Watch | Glance, trust: Trust) -> list[Anchor]:
    if trust.kept is None:
        return []
    try:
        note = parse_note(trust.kept)
        said = parse_checkpoint(note.text)
    except NoteError as error:
        raise LedgerFault("TAMPERED", f"the checkpoint that was kept: {error}") from error
    by = "the checkpoint that was kept"
    _check_goes_on(watch, note, by)
    return [Anchor(said.size, said.at, by)]


def _check_goes_on(watch: Watch | Glance, note: Note, by: str) -> None:
    """``LedgerFault`` unless the ledger is the one of that checkpoint, and goes on from it."""
    said = parse_checkpoint(note.text)
    if said.origin != watch.chain.origin:
        raise LedgerFault("UNKNOWN-KEY", f"the ledger is {watch.chain.origin}, not {said.origin}")
    if said.size > watch.checkpoint.size:
        text = f"{by} vouched for {said.size} leaves; the ledger was rolled back to"
        raise LedgerFault("TAMPERED", f"{text} {watch.checkpoint.size}", watch.checkpoint.size)
    checkpoint = check_checkpoint(note, watch.chain)
    tiles = Tiles(watch.directory, watch.checkpoint.size)
    if merkle.root(tiles.node, said.size) != checkpoint.root:
        raise LedgerFault("TAMPERED", f"the ledger is not that which {by} vouched for")


def _bytes(path: Path, suffix: str) -> bytes | None:
    try:
        return read_file(path.with_suffix(suffix), _MOST)
    except FileNotFoundError:
        return None
    except FormatError as error:
        raise NoteError(str(error)) from error


def check_anchor(
    note: Note, raw: bytes, cosignatures: bytes | None, response: bytes | None, trust: Trust
) -> tuple[list[Anchor], list[str]]:
    """What anchors the checkpoint ``note`` (whose bytes are ``raw``), and why
    the rest does not."""
    said = parse_checkpoint(note.text)
    size = said.size
    found: list[Anchor] = []
    doubts: list[str] = []
    if cosignatures is not None:
        if not trust.witness:
            doubts.append("cosigned by a witness whose key was not given")
        else:
            try:
                at, name = read_cosignatures(note.text, cosignatures, trust.witness)
                found.append(Anchor(size, at * 1_000_000_000, f"witness {name}"))
            except NoteError as error:
                doubts.append(str(error))
    if response is not None:
        if not trust.tsa:
            doubts.append("time-stamped by an authority whose certificate was not given")
        else:
            # Its parsers take a third of a second to load, and most look at no token.
            from recorder.evidence.tokens import TokenError, check_response

            try:
                token = check_response(response, raw, trust.tsa)
                found.append(Anchor(size, token.at, f"time-stamping authority {token.signer}"))
            except TokenError as error:
                doubts.append(f"its time stamp: {error}")
    doubts += [f"{told}, says {by}" for _, at, by in found if (told := ahead(said.at, at))]
    return found, doubts


def ahead(at: int, seen: int) -> str:
    """What is to be said of what is dated ``at`` and was there at ``seen`` (Unix nanoseconds);
    "" for nothing. Others may see a thing long after it was made, but not before."""
    if at <= seen + CLOCKS_DIFFER:
        return ""
    days, rest = divmod((at - seen) // 1_000_000_000, 86_400)
    how = f"{days} days" if days else f"{rest // 60} minutes"
    return f"the gateway's clock was {how} ahead"


def read_cosignatures(text: str, lines: bytes, witness: str) -> tuple[int, str]:
    """When the witness cosigned, and its name; ``NoteError``."""
    name, kind, public = parse_verifier_key(witness)
    if kind != COSIGNATURE:
        raise NoteError("the witness's key is not one for cosignatures")
    try:
        signatures = parse_signatures(lines.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NoteError("cosignatures are not UTF-8") from error
    problem: NoteError | None = None
    for who, raw in signatures:
        if who == name:
            try:
                return cosigned_at(text, raw, name, public), name
            except NoteError as error:
                problem = error
    raise problem or NoteError(f"witness {name} did not cosign it")
