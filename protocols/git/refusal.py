"""How the gateway says no in git's protocol."""

from __future__ import annotations

import re
from typing import Final

from protocols.contract import Refuse
from protocols.git.pktline import pkt

LONGEST: Final = 900
"""Bytes: it fits any side-band line."""
# Line ends and controls, C1 included, and what turns text around on a terminal.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def reason(refuse: Refuse, session: str) -> str:
    """One line: the rule, why, and the session to ask about."""
    why = refuse.reason or "not allowed"
    if refuse.kind == "policy":
        by = f"blocked by rule {refuse.rule}" if refuse.rule else "blocked"
        why = f"{by}: {why}"
    return f"{why} (session {session})"


def shown(said: str) -> bytes:
    """``said`` as bytes of one line, cut at ``LONGEST``."""
    raw = _UNFIT.sub(" ", said).encode("utf-8", "backslashreplace")
    return raw[:LONGEST].decode("utf-8", "ignore").encode()


def error_line(said: str) -> bytes:
    """An ERR line (gitprotocol-pack(5)): git prints ``remote error: ...`` and ends."""
    return pkt(b"ERR " + shown(said))
