"""What the ledger says of a session, taken from its Log or its header."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from recorder.errors import FormatError
from recorder.log_reader import LogFile

_HEADER_DOMAIN = b"wirewarden header v1\0"


class Facts(NamedTuple):
    """``digest`` is that of the header, ``root`` the Log's root, ``lost`` the records
    that its gaps stand for."""

    session: str
    part: int
    digest: bytes
    root: bytes
    status: str
    lost: int = 0


def header_digest(body: bytes) -> bytes:
    """Of the body of a HEADER record, which journal and Log have in common."""
    return sha256(_HEADER_DOMAIN + body).digest()


def facts_of(path: Path) -> Facts:
    """Of a finished Log, from its header and END alone; ``FormatError``."""
    log = LogFile(path)
    try:
        end, root = log.peek_root()
        if end is None:
            raise FormatError("a Log without an END", log.size(), torn=True)
        session = str(log.header["session"])
        digest = header_digest(log.header_body)
        return Facts(session, log.part, digest, root, end.status, end.lost)
    finally:
        log.close()
