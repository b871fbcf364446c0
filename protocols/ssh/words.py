"""What the gateway itself says over SSH: one line, as in git's own protocol."""

from __future__ import annotations

from protocols.contract import Refuse
from protocols.git.refusal import reason, shown


def refusal(refuse: Refuse, session: str) -> bytes:
    """The body of a DENIED or GOODBYE frame for ``refuse``."""
    return shown(reason(refuse, session))


def told(what: str, session: str) -> bytes:
    """The same for something that no rule or relay refused."""
    return shown(f"{what} (session {session})")
