"""Errors of the wire floor. Each names the guilty side."""

from __future__ import annotations

from protocols.wire import Side


class WireError(Exception):
    """A peer broke the protocol or a limit; the session cannot go on.

    ``side`` is the peer to blame, ``message`` a sentence for humans that
    quotes no payload bytes (they may be secret). ``code`` is the protocol's
    own error code where it has one (an SQLSTATE, an HTTP status), else "".
    """

    def __init__(self, side: Side, message: str, code: str = "") -> None:
        super().__init__(f"{side.name.lower()}: {message}")
        self.side = side
        self.message = message
        self.code = code


class LimitError(WireError):
    """A peer asked for more than a limit of the parser's signature allows."""
