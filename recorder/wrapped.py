"""The wrapped keys of a session's originals, in a file that can go.

The header of a session says of each auditor's wrapped key only its digest; the keys
themselves lie beside the Log, in ``<session>.keys``. So whoever deletes that file makes
the originals unreadable for good, and not a byte that a chain, a root or a ledger is
over has changed. In the journal they are a record of their own (KEYS), which the sealer
takes out. Logs of old have the keys in their header; they still open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from recorder import framing, records
from recorder.errors import FormatError, MissingKeyError
from recorder.files import read_file
from recorder.live import LiveSession
from recorder.originals import Opener
from recorder.reader import Recording
from recorder.scan import Damage, OpenSegment
from recorder.segment import segment_numbers, segment_path, write_all
from recorder.state import keys_path, log_path, sessions_directory

VERSION = 1
KEYS_MAX = 1 << 20
"""Bytes of a file of keys, at most."""


def digest_of(key: bytes) -> bytes:
    """What a header says of a wrapped key."""
    return hashlib.sha256(b"wirewarden wrapped key v1\0" + key).digest()


def in_header(wrapped: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """``keys`` of a header."""
    return [{"auditor": each["auditor"], "digest": digest_of(each["key"])} for each in wrapped]


def keys_body(number: int, wrapped: Iterable[dict[str, Any]]) -> list[Any]:
    """The body of a KEYS record of the session that is ``number`` in its journal."""
    return [number, 0, 0, [[each["auditor"], each["key"]] for each in wrapped]]


def read_keys(body: bytes, offset: int = 0) -> list[dict[str, Any]]:
    """The wrapped keys of a KEYS record; ``FormatError``."""
    items = records.unpack(body, offset)
    pairs = items[3] if len(items) > 3 and isinstance(items[3], list) else None
    if pairs is None or not all(_is_pair(pair) for pair in pairs):
        raise FormatError("malformed KEYS", offset)
    return [{"auditor": auditor, "key": key} for auditor, key, *_ in pairs]


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) >= 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], bytes)
    )


def put_keys(log: Path, session: str, body: bytes, durable: bool) -> None:
    """Write the file beside ``log`` that the KEYS record ``body`` is for; its name becomes
    durable with that of the Log. Raises ``OSError``, ``FormatError``."""
    keys = [
        {"auditor": each["auditor"], "key": base64.b64encode(each["key"]).decode()}
        for each in read_keys(body)
    ]
    told = {"wirewarden-keys": VERSION, "session": session, "keys": keys}
    path = keys_path(log)
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(fd, json.dumps(told, indent=1).encode() + b"\n")
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)


def wrapped_of(recording: Recording, keys_file: Path | None = None) -> list[dict[str, Any]]:
    """Each auditor's wrapped key, as ``{auditor, key}``; none where the gateway had no
    auditors. ``keys_file``: where they are, if not beside the Log. ``MissingKeyError`` says
    why there are none to be had, ``OSError``."""
    said = recording.header.get("keys")
    if not isinstance(said, list) or not said:
        return []
    if all(isinstance(item, dict) and "key" in item for item in said):
        return said
    digests = {
        str(item.get("auditor")): item.get("digest") for item in said if isinstance(item, dict)
    }
    found = None
    if isinstance(recording, LiveSession) and keys_file is None:
        found = _in_journal(recording)
        where = "the journal"
        # Its first part may be a Log already.
        sessions = sessions_directory(recording.path.parent.parent)
        place = log_path(sessions, str(recording.header["session"]), recording.header["wall"])
    else:
        place = recording.path
    if found is None:
        path = keys_path(place) if keys_file is None else keys_file
        found = _in_file(path, str(recording.header["session"]))
        where = str(path)
    for each in found:
        digest = digests.get(each["auditor"])
        if not isinstance(digest, bytes) or not hmac.compare_digest(digest, digest_of(each["key"])):
            raise MissingKeyError(f"{where} does not hold the keys that the header names: altered")
    return found


def _in_file(path: Path, session: str) -> list[dict[str, Any]]:
    try:
        raw = read_file(path, KEYS_MAX)
    except FormatError as error:
        raise MissingKeyError(f"{path} does not hold the keys of this session: {error}") from None
    except FileNotFoundError:
        raise MissingKeyError(
            f"its keys are not there ({path}): they were erased, or did not come along with the Log"
        ) from None
    try:
        told = json.loads(raw)
        if told["wirewarden-keys"] != VERSION or told["session"] != session:
            raise ValueError("not this session's")
        return [
            {
                "auditor": str(each["auditor"]),
                "key": base64.b64decode(str(each["key"]), validate=True),
            }
            for each in told["keys"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise MissingKeyError(f"{path} does not hold the keys of this session") from None


def _in_journal(live: LiveSession) -> list[dict[str, Any]] | None:
    for number in segment_numbers(live.path):
        try:
            with OpenSegment(segment_path(live.path, number)) as segment:
                for record in segment.records():
                    if isinstance(record, Damage):
                        break
                    if record.kind != framing.KEYS:
                        continue
                    if records.prefix(record.body)[0] == live.number:
                        return read_keys(record.body, record.offset)
        except (FileNotFoundError, FormatError):
            continue
    return None


def opener_of(
    recording: Recording, private: Sequence[X25519PrivateKey], keys_file: Path | None = None
) -> Opener:
    """Opens the originals of ``recording``. ``MissingKeyError``, ``OSError``."""
    return Opener(str(recording.header["session"]), wrapped_of(recording, keys_file), private)
