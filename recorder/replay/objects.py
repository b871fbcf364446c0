"""Large objects have other numbers now: what is told of them is renumbered.

A server picks the number of a large object that a session creates; what the session
asked later names the number that it was given then.
"""

from __future__ import annotations

import re

from protocols.postgres.frames import frame
from recorder.replay.compare import cells
from recorder.replay.messages import Message

_MAKES = frozenset((957, 715, 764, 767, 3460))
"""lo_creat, lo_create, lo_import, lo_import with a number, lo_from_bytea (pg_proc)."""
_TEXTS = re.compile(rb"\blo_(creat|create|import|from_bytea)\b", re.IGNORECASE)


class LargeObjects:
    """``oids``: numbers then, and now."""

    def __init__(self) -> None:
        self.oids: dict[int, int] = {}
        self._makes = False

    def outgoing(self, message: Message) -> bytes:
        """The bytes to send in place of ``message``."""
        kind, body = chr(message.kind), message.body
        if kind in "QP":
            self._makes = bool(_TEXTS.search(body))
        elif kind == "F":
            self._makes = int.from_bytes(body[:4], "big") in _MAKES
        if not self.oids or kind not in "QPFB":
            return message.raw
        for old, new in self.oids.items():
            if kind in "QP":
                body = re.sub(rb"(?<![\w.])%d(?![\w.])" % old, b"%d" % new, body)
            else:
                forms = zip(_forms(old, kind == "B"), _forms(new, kind == "B"), strict=True)
                for a, b in forms:
                    if a and b:
                        body = body.replace(a, b)
        return frame(message.kind, body)

    def learn(self, then: Message, now: Message) -> None:
        """After a request that makes an object: the number that came back."""
        if not self._makes or then.kind != now.kind or then.raw == now.raw or not then.known:
            return
        if chr(then.kind) == "V" and len(then.body) == len(now.body) == 8:
            self.oids[int.from_bytes(then.body[4:], "big")] = int.from_bytes(now.body[4:], "big")
        elif chr(then.kind) == "D":
            try:
                pairs = list(zip(cells(then.body), cells(now.body), strict=True))
            except ValueError:
                return
            for a, b in pairs:
                if a and b and a != b and a.isdigit() and b.isdigit():
                    if len(a) < 11 and len(b) < 11:
                        self.oids[int(a)] = int(b)
                elif a and b and a != b and len(a) == len(b) == 4:
                    self.oids[int.from_bytes(a, "big")] = int.from_bytes(b, "big")


def _forms(number: int, text: bool) -> list[bytes]:
    """``number`` as a value with its length before it: the widths that integers have, and as
    text. b"" where it does not fit."""
    found = []
    for width, most in ((4, 1 << 32), (8, 1 << 63), (2, 1 << 15)):
        raw = number.to_bytes(width, "big") if number < most else b""
        found.append(width.to_bytes(4, "big") + raw if raw else b"")
    if text:
        raw = b"%d" % number
        found.append(len(raw).to_bytes(4, "big") + raw)
    return found
