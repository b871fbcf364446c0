"""Asks a witness and a time-stamping authority to vouch for a checkpoint.

What comes back is checked before it is kept, so that a misconfigured or lying
service is an alarm on the day and not a surprise in an audit.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from recorder.evidence import merkle
from recorder.evidence.anchors import read_cosignatures
from recorder.evidence.notes import NoteError, parse_checkpoint, parse_note, to_base64
from recorder.evidence.tiles import Tiles, TilesError, put
from recorder.segment import fsync_directory

TIMEOUT = 10.0
_ANSWER_MAX = 1 << 18


class FetchError(Exception):
    """No anchor, and why."""


def _post(url: str, body: bytes, kind: str) -> tuple[int, bytes]:
    import httpx  # takes a tenth of a second to load, and most gateways ask nobody

    try:
        with (
            httpx.Client(timeout=TIMEOUT, trust_env=False) as client,
            client.stream("POST", url, content=body, headers={"Content-Type": kind}) as answer,
        ):
            found = b""
            for piece in answer.iter_bytes():
                found += piece
                if len(found) > _ANSWER_MAX:
                    raise FetchError("the answer is too long")
            return answer.status_code, found
    except httpx.HTTPError as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error


def _keep(directory: Path, size: int, note: bytes, suffix: str, data: bytes) -> None:
    made: set[Path] = set()
    base = directory / "anchors" / f"{size:020d}.note"
    if base.exists() and base.read_bytes() != note:
        raise FetchError(f"another checkpoint of {size} leaves was anchored")
    put(base, note, made)
    put(base.with_suffix(suffix), data, made)
    for where in made:
        fsync_directory(where)


def ask_witness(directory: Path, note: bytes, url: str, key: str, old: int = -1) -> int:
    """``add-checkpoint`` of C2SP tlog-witness; the size that it then vouches
    for. ``old``: what it is known to have, -1 if that is not known.
    ``FetchError``, ``OSError``."""
    text = parse_note(note).text
    checkpoint = parse_checkpoint(text)
    tiles = Tiles(directory, checkpoint.size)
    since = max(0, old)
    for _ in range(2):
        if since > checkpoint.size:
            raise FetchError(f"it has seen {since} leaves, and there are {checkpoint.size}")
        try:
            proof = merkle.consistency(tiles.node, since, checkpoint.size)
        except TilesError as error:
            raise FetchError(str(error)) from error
        lines = "".join(to_base64(step) + "\n" for step in proof)
        body = f"old {since}\n{lines}\n".encode() + note
        status, answer = _post(url.rstrip("/") + "/add-checkpoint", body, "text/plain")
        if status == 200:
            try:
                read_cosignatures(text, answer, key)
            except NoteError as error:
                raise FetchError(str(error)) from error
            _keep(directory, checkpoint.size, note, ".cosignatures", answer)
            return checkpoint.size
        if status != 409 or not re.fullmatch(rb"(0|[1-9][0-9]{0,18})\n", answer):
            break
        since = int(answer)
    raise FetchError(f"it answered with status {status}")


def ask_authority(directory: Path, note: bytes, url: str, authorities: bytes) -> int:
    """A time stamp over the checkpoint ``note``; its size. ``FetchError``,
    ``OSError``."""
    # Its parsers take a third of a second to load, and most gateways ask nobody.
    from recorder.evidence.tokens import TokenError, check_response, request

    nonce = secrets.randbits(64)
    status, answer = _post(url, request(note, nonce), "application/timestamp-query")
    if status != 200:
        raise FetchError(f"it answered with status {status}")
    try:
        check_response(answer, note, authorities, nonce)
    except TokenError as error:
        raise FetchError(f"its time stamp does not hold: {error}") from error
    size = parse_checkpoint(parse_note(note).text).size
    _keep(directory, size, note, ".tsr", answer)
    return size
