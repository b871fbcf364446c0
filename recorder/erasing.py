"""Erases the key of a session's originals (crypto-shredding): they are unreadable from then
on, for auditors too, while Log, chain, root and ledger verify as before."""

from __future__ import annotations

import os
from pathlib import Path

from crc32c import crc32c

from recorder import framing, records
from recorder.catalog import describe
from recorder.evidence.inbox import gap_leaf, hand_over, inbox_directory
from recorder.holds import holds, locked
from recorder.index.answer import home_of
from recorder.live import LiveSession, live_sessions
from recorder.reader import Recording
from recorder.recordings import Recordings
from recorder.scan import Damage, OpenSegment
from recorder.sealed import read_sealed
from recorder.segment import fsync_directory, segment_numbers, segment_path, write_all
from recorder.state import keys_path
from recorder.store import RECORDINGS
from recorder.uploading import copied_to


class CanNotErase(Exception):
    """Why not."""


def erase(
    state: Path, recording: Recording, reason: str, by: str, copies: Recordings | None
) -> Path:
    """Erase the file of wrapped keys of ``recording``, and its copy in an object store; the
    ledger is told first. The path that it had. ``CanNotErase``, ``HoldError``,
    ``RecordingsError``, ``OSError``."""
    if not by or not reason:
        raise CanNotErase("an erasure says who asked for it and why")
    session = str(recording.header["session"])
    said = recording.header.get("keys")
    if not said:
        raise CanNotErase("it has no keys: the gateway had no auditors")
    if any("key" in item for item in said):
        raise CanNotErase(
            "its keys are part of the Log, as in recordings of old: what makes its originals "
            "unreadable is to destroy the auditors' private keys, or to delete the session"
        )
    journals = [
        live for live in live_sessions(state / "journal") if live.header["session"] == session
    ]
    waits = any(live.number not in read_sealed(live.path) for live in journals)
    if waits or isinstance(recording, LiveSession):
        raise CanNotErase("a journal still needs them: wait until the session is sealed")
    path = keys_path(recording.path)
    elsewhere = copied_to(state)
    if elsewhere and (copies is None or copies.url != elsewhere):
        raise CanNotErase(f"a copy of them is in {elsewhere}: set {RECORDINGS} to it")
    with locked(state):
        line = describe(recording)
        for hold in holds(state):
            if hold.covers(line):
                raise CanNotErase(f"it is held: {hold.id} of {hold.by}: {hold.reason}")
        if not path.exists():
            raise CanNotErase(f"there are no keys to erase ({path} is not there)")
        inbox = inbox_directory(state)
        if inbox.is_dir():
            # First the leaf: keys that are gone without one look like theft.
            text = f"the key of its originals was erased by {by}: {reason}"
            hand_over(inbox, [gap_leaf(session, text)])
        root = state.resolve()
        if copies is not None and path.resolve().is_relative_to(root):
            copies.delete(f"{home_of(state)}/{path.resolve().relative_to(root).as_posix()}")
        for live in journals:
            _blank(live)
        _overwrite(path)
        path.unlink()
        fsync_directory(path.parent)
    return path


def _blank(live: LiveSession) -> None:
    """Zeros for the keys in what a journal still has of a sealed session; the record stays
    one. Nobody reads it any more, so that a crash in the middle of it loses nothing."""
    for number in segment_numbers(live.path):
        path = segment_path(live.path, number)
        try:
            with OpenSegment(path) as segment:
                found = [
                    record
                    for record in segment.records()
                    if not isinstance(record, Damage)
                    and record.kind == framing.KEYS
                    and records.prefix(record.body)[0] == live.number
                ]
        except FileNotFoundError:
            continue  # it just went, as segments do that nobody needs
        for record in found:
            items = records.unpack(record.body, record.offset)
            items[3] = [[auditor, bytes(len(key))] for auditor, key, *_ in items[3]]
            body = records.packer().pack(items)
            crc = framing.masked(crc32c(body)).to_bytes(4, "little")
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(fd, crc + body, record.offset + framing.RECORD_HEADER - len(crc))
                os.fsync(fd)
            finally:
                os.close(fd)


def _overwrite(path: Path) -> None:
    """Best effort: a file system that copies on write, or a disk that moves blocks, keeps the
    old ones for a while. What is in them opens only with an auditor's private key."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(fd, bytes(os.fstat(fd).st_size))
        os.fsync(fd)
    finally:
        os.close(fd)
