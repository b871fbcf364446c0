"""Whose keys and words a verification believes."""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder.evidence.anchors import Trust
from recorder.evidence.epochs import load_root
from recorder.evidence.notes import COSIGNATURE, NoteError, parse_verifier_key, read_note


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="FILE",
        help="the ledger's root.pub, kept apart (else: the one beside the ledger is believed)",
    )
    parser.add_argument(
        "--witness", metavar="KEY", help="a witness's verifier key (name+hash+key), or its file"
    )
    parser.add_argument(
        "--tsa-ca",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) of the time-stamping authorities that are believed",
    )


def add_kept(parser: argparse.ArgumentParser) -> None:
    """The option that needs a ledger."""
    parser.add_argument(
        "--kept",
        type=Path,
        metavar="FILE",
        help="a copy of the ledger's checkpoint from an earlier day, kept apart: the ledger must "
        "go on from it, and what it covers is anchored by it",
    )


def trust_of(args: argparse.Namespace) -> Trust:
    """Raises ``ValueError``, ``OSError``."""
    witness = args.witness
    if witness is not None:
        if Path(witness).is_file():
            witness = Path(witness).read_text(encoding="utf-8")
        if parse_verifier_key(witness)[1] != COSIGNATURE:
            raise NoteError("--witness takes a key for cosignatures")
    return Trust(
        root=None if args.trust is None else load_root(args.trust),
        witness=witness,
        tsa=None if args.tsa_ca is None else args.tsa_ca.read_bytes(),
        kept=None if getattr(args, "kept", None) is None else read_note(args.kept),
    )
