"""Row 21: how a push is cut into reads changes nothing. A real push is captured, then sent
whole, in single bytes and in pieces; each time the same is judged and done. Goes red when the
lane looks at the end of a read for the flush (``data.endswith(b"0000")``).
"""

from __future__ import annotations

import pytest
from git_kit import ZERO, Attack, history, request


@pytest.mark.parametrize("piece", [0, 1, 3, 4, 7, 50])
def test_the_same_push(attack: Attack, piece: int) -> None:
    name, work = attack.seeded()
    base = work.id()
    made = history(base, content=b"0000" * 9)
    raw = request(
        (base, made.tip, "refs/heads/main"),
        (ZERO, base, "refs/heads/copy"),
        (ZERO, made.tip, "refs/tags/t0000"),
        pack=made.pack(),
    )
    said = attack.push(name, raw, piece=piece)
    assert said.code == 0, said
    assert b"unpack ok" in said.out
    assert said.out.count(b"ok refs/") == 3
    assert attack.route.refs(name) == {
        "refs/heads/main": made.tip,
        "refs/heads/copy": base,
        "refs/tags/t0000": made.tip,
    }
    attack.route.sound(name)
