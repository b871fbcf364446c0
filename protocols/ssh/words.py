"""What the gateway itself says over SSH."""

from __future__ import annotations

import re
from typing import Final

from protocols.contract import Refuse

_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def refusal(refuse: Refuse, session: str) -> str:
    """One line for ``refuse``: the rule, the reason, the session."""
    reason = refuse.reason or "not allowed"
    if refuse.kind == "policy":
        by = f"blocked by rule {refuse.rule}" if refuse.rule else "blocked"
        reason = f"{by}: {reason}"
    return _UNFIT.sub(" ", f"{reason} (session {session})")


def goodbye(text: str) -> bytes:
    """``text`` as the body of a DENIED, GOODBYE or STDERR frame."""
    return text.encode("utf-8", "backslashreplace")[:4096]
