"""Where leaves wait for the one that writes the ledger: files in ``inbox/``.

A file is whole or not there (written aside, made durable, renamed), and goes
only once its leaves are in the committed tree. What is found twice after a
crash is the same leaf by its name (``leaves.name_of``). The existence of the
directory is what turns evidence on for the sealer and for recovery.
"""

from __future__ import annotations

import itertools
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from recorder.errors import FormatError
from recorder.evidence.leaves import Kind, LeafError, pack_fields, unpack_fields
from recorder.evidence.tiles import put
from recorder.files import read_file
from recorder.segment import fsync_directory

Item = tuple[Kind, bytes]
MAGIC = b"wirewarden inbox v1\0"
_HEAD = struct.Struct("<BH")
_MOST = 1 << 28
_numbers = itertools.count()


def ledger_directory(state: Path) -> Path:
    """Where the ledger lies in the state directory."""
    return state / "evidence"


def inbox_directory(state: Path) -> Path:
    return ledger_directory(state) / "inbox"


def hand_over(inbox: Path, items: Sequence[Item]) -> None:
    """Leave leaves (kind and packed fields) for the ledger, durably. Raises
    ``OSError``."""
    if not items:
        return
    body = b"".join(_HEAD.pack(kind, len(fields)) + fields for kind, fields in items)
    data = MAGIC + body + sha256(MAGIC + body).digest()
    name = f"{next(_numbers):012d}-{os.getpid()}-{secrets.token_hex(8)}.leaves"
    made: set[Path] = set()
    put(inbox / name, data, made)
    for directory in made:
        fsync_directory(directory)


def waiting(inbox: Path) -> list[Path]:
    """Files that wait, oldest first as far as their times tell."""
    found = []
    for path in inbox.glob("*.leaves"):
        try:
            found.append((path.stat().st_mtime_ns, path.name, path))
        except FileNotFoundError:
            continue
    return [path for _, _, path in sorted(found)]


def read_items(path: Path) -> list[Item]:
    """The leaves of a file; ``FormatError`` if it is not what was written."""
    raw = read_file(path, _MOST)
    if not raw.startswith(MAGIC) or sha256(raw[:-32]).digest() != raw[-32:]:
        raise FormatError(f"{path.name} is not a file of leaves", 0)
    items = []
    at, stop = len(MAGIC), len(raw) - 32
    while at < stop:
        try:
            number, length = _HEAD.unpack_from(raw, at)
            kind = Kind(number)
            fields = raw[at + 3 : at + 3 + length]
            unpack_fields(kind, fields)
        except (struct.error, ValueError, LeafError) as error:
            raise FormatError(f"{path.name} holds no leaves: {error}", at) from error
        items.append((kind, fields))
        at += 3 + length
    return items


def start_leaf(session: str, digest: bytes) -> Item:
    return Kind.START, pack_fields(Kind.START, {"session": session, "digest": digest})


def part_leaf(session: str, part: int, root: bytes) -> Item:
    fields = pack_fields(Kind.PART, {"session": session, "part": part, "root": root})
    return Kind.PART, fields


def end_leaf(session: str, parts: int, root: bytes, status: str) -> Item:
    values: dict[str, int | str | bytes] = {"session": session, "parts": parts}
    return Kind.END, pack_fields(Kind.END, {**values, "root": root, "status": status})


def policy_leaf(gateway: str, count: int, version: str) -> Item:
    values: dict[str, int | str | bytes] = {"gateway": gateway, "count": count}
    return Kind.POLICY, pack_fields(Kind.POLICY, {**values, "version": version})


def gap_leaf(session: str, reason: str) -> Item:
    return Kind.GAP, pack_fields(Kind.GAP, {"session": session, "reason": reason[:1000]})


def deletion_leaf(session: str, root: bytes, reason: str) -> Item:
    values: dict[str, int | str | bytes] = {"session": session, "root": root}
    return Kind.DELETION, pack_fields(Kind.DELETION, {**values, "reason": reason[:1000]})


def sealed_leaves(paths: Iterable[Path]) -> list[Item]:
    """Start and end of finished Logs, and their gaps, read from their files. What
    can't be read is left out: verify will say that the ledger does not know it."""
    from recorder.evidence.facts import facts_of

    items: list[Item] = []
    for path in paths:
        try:
            facts = facts_of(path)
        except (FormatError, OSError):
            continue
        if facts.part == 0:
            items.append(start_leaf(facts.session, facts.digest))
        if facts.status == "continued":
            items.append(part_leaf(facts.session, facts.part, facts.root))
        else:
            items.append(end_leaf(facts.session, facts.part + 1, facts.root, facts.status))
        if facts.lost:
            reason = f"{facts.lost} records of part {facts.part} are lost: the journal was damaged"
            items.append(gap_leaf(facts.session, reason))
    return items
