"""Row 20: where a pack begins comes from framing alone; PACK and 0000 within refs, options,
messages and files are what they are there. Goes red when the lane looks for ``PACK``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import ZERO, Attack, history, request

NO_PACKS = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "no-secret"
on = "git.push"
where = { ref = "refs/heads/secret*" }
verdict = "block"
message = "not {ref}"
"""
CAPS = b"report-status side-band-64k push-options object-format=sha1"


@pytest.fixture
def guarded(attacks: Callable[..., Attack]) -> Attack:
    return attacks(NO_PACKS, target='push_options = ["*"]')


@pytest.mark.parametrize("first", ["refs/heads/PACK", "refs/heads/0000", "refs/heads/PACK0000"])
def test_a_ref_behind_one_called_pack_is_judged(guarded: Attack, first: str) -> None:
    name, _ = guarded.seeded()
    unharmed = guarded.untouched(name)
    made = history()
    said = guarded.push(
        name,
        request((ZERO, made.tip, first), (ZERO, made.tip, "refs/heads/secret"), pack=made.pack()),
    )
    assert b"no-secret" in said.out, said
    unharmed()


def test_options_and_contents_are_not_packs(guarded: Attack) -> None:
    name, _ = guarded.seeded()
    fake = b"0000PACK\0\0\0\2\0\0\0\0"
    made = history(content=fake * 20)
    commands = ((ZERO, made.tip, "refs/heads/PACK"), (ZERO, made.tip, "refs/heads/0000"))
    raw = request(*commands, caps=CAPS, options=[b"0000PACK", b"PACK=0000"], pack=made.pack())
    said = guarded.push(name, raw)
    assert b"ng " not in said.out, said
    refs = guarded.route.refs(name)
    assert refs["refs/heads/PACK"] == refs["refs/heads/0000"] == made.tip
    guarded.route.sound(name)


def test_a_second_pack_behind_the_first(guarded: Attack) -> None:
    name, _ = guarded.seeded()
    unharmed = guarded.untouched(name)
    made, other = history(), history(content=b"other")
    hidden = request((ZERO, other.tip, "refs/heads/secret"), pack=other.pack())
    raw = request((ZERO, made.tip, "refs/heads/fine"), pack=made.pack() + hidden)
    guarded.push(name, raw)
    refs = guarded.route.refs(name)
    assert "refs/heads/secret" not in refs
    if "refs/heads/fine" in refs:  # what came behind was never sent on
        assert refs["refs/heads/fine"] == made.tip
    else:
        unharmed()
