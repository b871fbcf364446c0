"""Row 84: ``aud``, ``iss``, ``exp``, ``iat`` and ``sub`` are all required and exact.

The negative tokens are with row 83's, whose table this file asks for them; here is
the one thing more: a proof lapses for the next connection, at the front door. Goes red
without the check that ``aud`` is ours alone.
"""

from __future__ import annotations

import time

from stack import Stack
from test_083_forged_tokens import HEAD, attempt, forgeries, good, sign
from wire import Wire


def test_the_nine(anything: Stack) -> None:
    tokens = forgeries(anything)
    about = [n for n in tokens if n.split()[0] in ("no", "another", "aud", "exp", "iss", "expired")]
    assert len(about) >= 9
    for name in about:
        assert attempt(anything, tokens[name]) == "28P01", name


def test_a_token_lapses(anything: Stack) -> None:
    now = int(time.time())
    leeway = 30
    token = sign(anything, HEAD, good(anything, iat=now - 100, exp=now - leeway + 3))
    with Wire(anything.port) as wire:
        assert wire.login(token, {"user": "a", "database": "shop"}).status == "I"
    time.sleep(4.5)
    assert attempt(anything, token) == "28P01"
