"""Proofs: what the ledger says of one session, small enough to go along with a
copy of its Log, and checked without the ledger.

JSON. Each leaf is shown to be in the tree that its own epoch's key signed
(the next epoch's certificate, or the checkpoint), so that a later key can't
have made it up, and in the checkpoint, which anchors may vouch for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from recorder import verify as checks
from recorder.catalog import instant
from recorder.errors import FormatError
from recorder.evidence import merkle
from recorder.evidence.anchors import Trust, anchor_files, check_anchor
from recorder.evidence.epochs import Chain, EpochError
from recorder.evidence.glance import Glance
from recorder.evidence.judge import contradiction, leaf_of
from recorder.evidence.leaves import Kind, LeafError, unpack_leaf
from recorder.evidence.merkle import ProofError
from recorder.evidence.notes import (
    NoteError,
    parse_checkpoint,
    parse_note,
    read_note,
    to_base64,
    unbase64,
)
from recorder.evidence.watch import Entry, LedgerFault, Watch, check_checkpoint
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, log_of
from recorder.verify import Verdict

PROOF_MAX = 16 << 20


def make_proof(watch: Watch | Glance, session: str) -> bytes | None:
    """The proof of a session that has ended, with all of its parts; None when the
    ledger has no end of it. It uses the first anchored checkpoint that covers it, else
    the latest."""
    entry = watch.entry(session)
    if entry is None or entry.end is None:
        return None
    last = entry.end[0]
    raw, anchors = watch.raw_note, {}
    for path in anchor_files(watch.directory):
        try:
            note = read_note(path)
            covers = parse_checkpoint(parse_note(note).text).size > last
        except NoteError:
            continue
        if covers:
            raw = note
            for key in ("cosignatures", "tsr"):
                found = path.with_suffix("." + key)
                if found.exists():
                    anchors[key] = to_base64(found.read_bytes())
            break
    checkpoint = parse_checkpoint(parse_note(raw).text)
    every = (entry.start, *entry.parts.values(), entry.end)
    numbers = [index for index, _ in filter(None, every)]
    starts = [epoch.number("size") for epoch in watch.chain.epochs]
    leaves = []
    for index in sorted(numbers):
        leaf = unpack_leaf(watch.tiles.entry(index))
        after = starts[leaf.epoch + 1] if leaf.epoch + 1 < len(starts) else checkpoint.size
        size = min(after, checkpoint.size)
        nodes = watch.tiles.node
        leaves.append(
            {
                "index": index,
                "leaf": to_base64(watch.tiles.entry(index)),
                "size": size,
                "path": list(map(to_base64, merkle.inclusion(nodes, index, size))),
                "checkpoint_path": list(
                    map(to_base64, merkle.inclusion(nodes, index, checkpoint.size))
                ),
            }
        )
    epochs = [to_base64(watch.tiles.entry(at)) for at in starts if at < checkpoint.size]
    proof = {
        "wirewarden-proof": 1,
        "epochs": epochs,
        "leaves": leaves,
        "checkpoint": to_base64(raw),
        "anchors": anchors,
    }
    return json.dumps(proof, indent=1).encode() + b"\n"


def check_proof(path: Path, proof: bytes, trust: Trust) -> Verdict:
    """The verdict about a Log by its proof; ``trust.root`` must be given.
    Raises ``OSError`` only."""
    try:
        log = log_of(path)
    except FormatError:
        return checks.verify_file(path)
    try:
        verdict = checks.verify(log)
        if verdict.status in (checks.CORRUPT, checks.TAMPERED):
            return verdict
        try:
            return _judge(log, verdict, proof, trust)
        except LedgerFault as fault:
            return replace(verdict, status=fault.status, message=fault.reason, scope="")
        except (EpochError, LeafError, NoteError, ProofError) as error:
            return replace(verdict, status=checks.TAMPERED, message=f"the proof: {error}", scope="")
        except (
            ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError
        ) as error:  # fmt: skip
            message = f"the proof can't be read ({type(error).__name__})"
            return replace(verdict, status=checks.TAMPERED, message=message, scope="")
    finally:
        log.close()


def _judge(log: LogFile | PartedLog, verdict: Verdict, proof: bytes, trust: Trust) -> Verdict:
    if len(proof) > PROOF_MAX or trust.root is None:
        raise ValueError("no proof")
    said: dict[str, Any] = json.loads(proof)
    if said["wirewarden-proof"] != 1:
        raise ValueError("another proof")
    chain = Chain(trust.root)
    raw = unbase64(said["checkpoint"])
    note = parse_note(raw)
    if parse_checkpoint(note.text).origin != chain.origin:
        raise LedgerFault(checks.UNKNOWN_KEY, "the proof is of another ledger than the trusted one")
    for text in said["epochs"]:
        leaf = unpack_leaf(unbase64(text))
        if leaf.kind is not Kind.EPOCH:
            raise ProofError("the chain of epochs holds something else")
        chain.add(leaf)
    checkpoint = check_checkpoint(note, chain)
    entry = Entry()
    for item in said["leaves"]:
        raw_leaf = unbase64(item["leaf"])
        leaf, index, size = unpack_leaf(raw_leaf), item["index"], item["size"]
        hashed = merkle.leaf_hash(raw_leaf)
        following = leaf.epoch + 1
        if following < len(chain.epochs):
            after = chain.epochs[following]
            wanted = (after.number("size"), after.raw("root"))
        else:
            wanted = (checkpoint.size, checkpoint.root)
        if size != wanted[0]:
            raise ProofError("a leaf is not proven by its own epoch")
        if leaf.epoch >= len(chain.epochs):
            raise ProofError("a leaf is of an epoch that the proof does not have")
        first = chain.epochs[leaf.epoch].number("size")
        if index < first:
            raise ProofError("a leaf lies before its epoch")
        merkle.check_inclusion(hashed, index, size, list(map(unbase64, item["path"])), wanted[1])
        path = list(map(unbase64, item["checkpoint_path"]))
        merkle.check_inclusion(hashed, index, checkpoint.size, path, checkpoint.root)
        if leaf.fields.get("session") == verdict.session:
            if leaf.kind is Kind.START:
                entry.start = (index, leaf)
            elif leaf.kind is Kind.PART:
                entry.parts[leaf.number("part")] = (index, leaf)
            elif leaf.kind is Kind.END:
                entry.end = (index, leaf)
    if entry.start is None or entry.end is None:
        raise ProofError("it is not of this session")
    found = contradiction(log, entry)
    if found is not None:
        part, offset, message = found
        return replace(verdict, status=checks.TAMPERED, part=part, offset=offset, message=message)
    proven = leaf_of(log, entry)
    if proven is None:
        part, where = verdict.part, verdict.offset or 0
        message = f"it was cut off: the ledger has more of it (leaf {entry.end[0]})"
        if isinstance(log, LogFile) and log.end is not None:
            part, where, message = log.part, 0, "the proof does not have this part"
        return replace(verdict, status=checks.TAMPERED, part=part, offset=where, message=message)
    texts = said["anchors"]
    stored = {key: unbase64(texts[key]) for key in ("cosignatures", "tsr") if key in texts}
    anchors, doubts = check_anchor(note, raw, stored.get("cosignatures"), stored.get("tsr"), trust)
    known = f"in the ledger {chain.origin} (leaf {proven})"
    if anchors:
        first_anchor = min(anchors, key=lambda anchor: anchor.at)
        known += f"; anchored {instant(first_anchor.at)} by {first_anchor.by}"
        status = checks.ANCHORED if verdict.status == checks.OK else verdict.status
        return replace(verdict, status=status, scope=f"{known}: unaltered since then")
    scope = f"{known}, as its keeper signed {instant(checkpoint.at)}; not externally anchored"
    if doubts:
        scope += f" ({'; '.join(doubts)})"
    return replace(verdict, scope=scope)
