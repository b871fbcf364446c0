"""recorder proof: evidence about one session that needs no ledger."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recorder.commands.opening import DAMAGED, ERROR, OK, complain
from recorder.evidence.glance import Glance, Unsure
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import has_ledger
from recorder.evidence.proof import make_proof
from recorder.evidence.watch import LedgerFault, Watch


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "proof",
        help="write the evidence about one session, to go along with its Log",
        description="Writes what recorder verify --trust ROOT.pub --proof FILE needs to check a "
        "copy of a Log anywhere: its leaves of the ledger with their inclusion proofs, a signed "
        "checkpoint with its anchors, and the chain of keys.",
    )
    parser.add_argument("id", metavar="ID", help="a session's id")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="instead of stdout")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Write it."""
    if not has_ledger(args.dir):
        complain(f"{args.dir} has no ledger")
        return ERROR
    try:
        proof = make_proof(Glance(ledger_directory(args.dir)), args.id.upper())
        if proof is not None:
            return _write(args.output, proof)
    except Unsure:
        pass  # then from all of it
    try:
        watch = Watch(ledger_directory(args.dir))
    except LedgerFault as fault:
        complain(f"the ledger is {fault.status}: {fault.reason}")
        return DAMAGED
    names = [name for name in watch.sessions if name.upper().startswith(args.id.upper())]
    exact = [name for name in names if name.upper() == args.id.upper()]
    names = exact or names
    proof = make_proof(watch, names[0]) if len(names) == 1 else None
    if proof is None:
        complain(f"the ledger has no end of one session {args.id}")
        return ERROR
    return _write(args.output, proof)


def _write(output: Path | None, proof: bytes) -> int:
    if output is None:
        sys.stdout.write(proof.decode())
    else:
        output.write_bytes(proof)
    return OK
