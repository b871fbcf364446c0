"""What the gateway itself says in RESP."""

from __future__ import annotations

import re
from typing import Final

from protocols.contract import Refuse

OK: Final = b"+OK\r\n"
_CODES: Final = {"policy": "NOPERM", "identity": "WRONGPASS"}
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f]+")


def command(*words: bytes) -> bytes:
    """An array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def failure(code: str, text: str) -> bytes:
    """An error line; what can't stand in one becomes a space."""
    return f"-{code} {_UNFIT.sub(' ', text)}\r\n".encode("utf-8", "backslashreplace")


def refusal(refuse: Refuse, session: str) -> bytes:
    """The error reply for ``refuse``."""
    reason = refuse.reason or "not allowed"
    if refuse.kind == "policy":
        by = f"blocked by rule {refuse.rule}" if refuse.rule else "blocked"
        reason = f"{by}: {reason}"
    return failure(_CODES.get(refuse.kind, "ERR"), f"{reason} (session {session})")
