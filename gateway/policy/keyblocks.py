"""Triggers and confirmations for private keys: PEM (RFC 7468) with OpenSSH's
and PGP's blocks, PuTTY's files, and PEM within base64.

Key blocks span lines, so these alone cross a newline; nothing crosses the
separator.  A block without an end is masked to the end of its value.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from gateway.policy.kinds import Memo, Place, Trigger
from gateway.policy.tokens import LONG_REACH

SEPARATOR: Final = b"\0"

_BEGIN: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}?PRIVATE KEY(?: BLOCK)?-----")
_BEGIN_OPEN: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,56}-{0,4}")
_END: Final = re.compile(rb"-----END [A-Z0-9 ]{0,40}?PRIVATE KEY(?: BLOCK)?-----")
_PUTTY_END: Final = re.compile(rb"Private-MAC: ?[0-9a-fA-F]{1,128}")


def _end(data: bytes, start: int, pattern: re.Pattern[bytes], name: str, memo: Memo) -> int:
    """The end of the first ``pattern`` behind ``start``, or that of the value
    if it comes first. No byte is searched twice in one scan."""
    if memo.get(name, -1) < start:
        found = pattern.search(data, start)
        memo[name] = found.end() if found else len(data)
    if memo.get("value", -1) < start:
        at = data.find(SEPARATOR, start)
        memo["value"] = at if at >= 0 else len(data)
    return min(memo[name], memo["value"])


def _pem(data: bytes, start: int, end: int, memo: Memo) -> Place:
    begin = _BEGIN.match(data, start)
    if begin is not None:
        return start, _end(data, begin.end(), _END, "pem", memo)
    opening = _BEGIN_OPEN.match(data, start)
    if opening is not None and opening.end() == len(data):
        return start, len(data)
    return None


def _putty(data: bytes, start: int, end: int, memo: Memo) -> Place:
    return start, _end(data, end, _PUTTY_END, "putty", memo)


# The base64 of "-----BEGIN ", as far as it does not depend on what follows.
_B64_BEGIN: Final = b"LS0tLS1CRUdJTi"
_B64_HEAD: Final = re.compile(rb"[A-Za-z0-9+/]{0,80}")
_B64_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}(?:\r?\n[A-Za-z0-9+/_-]{16,128}={0,2})*")


def _base64_pem(data: bytes, start: int, end: int, memo: Memo) -> Place:
    if start < memo.get("base64", 0):
        return None  # within a run that is masked already
    head = _B64_HEAD.match(data, start)
    assert head is not None
    text = binascii.a2b_base64(head[0][: len(head[0]) // 4 * 4])
    if b"PRIVATE KEY" not in text and (len(head[0]) == 80 or head.end() < len(data)):
        return None
    run = _B64_RUN.match(data, start)
    assert run is not None
    memo["base64"] = run.end()
    return start, run.end()


KEYBLOCKS: Final[dict[str, tuple[Trigger, ...]]] = {
    "private-key": (
        Trigger(rb"-----BEGIN ", 11, _pem, LONG_REACH, always=True),
        Trigger(rb"PuTTY-User-Key-File-", 20, _putty, LONG_REACH, always=True),
        Trigger(_B64_BEGIN, len(_B64_BEGIN), _base64_pem, LONG_REACH, always=True),
    )
}
