"""Row 26: rules on branches permit branches; every other ref is denied unless named, and
names are compared whole, as bytes. Goes red when ``refs/heads/*`` is matched with
``re.match`` and ``$``, or names are decoded with U+FFFD.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import ZERO, Attack, history, request

BRANCHES = """
version = 1
default = "deny"

[[rule]]
id = "reading"
on = ["git.list", "git.fetch"]
verdict = "allow"

[[rule]]
id = "branches"
on = "git.push"
where = { ref = ["refs/heads/main", "refs/heads/fine/*"] }
verdict = "allow"
"""
OTHERS: list[bytes] = [
    b"HEAD", b"refs/notes/commits", b"refs/replace/" + b"0" * 40, b"refs/for/main",
    b"refs/pull/1/head", b"refs/tags/v1", b"refs/heads/main\n", b"refs/heads/main ",
    b"refs/heads/mainx", b"refs/heads/fine", b"refs/heads/other/refs/heads/main", b"main",
    b"refs/heads/ma\xefn", b"refs/heads/\xff", b"refs/heads/main\xff", b"refs/heads/../heads/main",
    b"refs/stash", b"refs/heads/fine/../main", b"REFS/heads/main", b"refs/heads/main.lock",
    b"refs/meta/config", b"refs/heads/fine/\x7f", b"refs//heads/main", b"refs/heads/Main",
]  # fmt: skip


@pytest.fixture
def branches(attacks: Callable[..., Attack]) -> tuple[Attack, str]:
    attack = attacks(BRANCHES)
    name = "org/branches"
    if not (attack.server.root / f"{name}.git").exists():
        attack.server.create(name)
        work = attack.route.new_work(name)
        work.commit("one", "one")
        work.git("push", "-q", "origin", "main")
    return attack, name


@pytest.mark.parametrize("ref", OTHERS, ids=repr)
def test_denied(branches: tuple[Attack, str], ref: bytes) -> None:
    attack, name = branches
    unharmed = attack.untouched(name)
    made = history()
    said = attack.push(name, request((ZERO, made.tip, ref), pack=made.pack()))
    assert said.code or b"ng " in said.out, said
    unharmed()


def test_names_that_are_no_text(attacks: Callable[..., Attack]) -> None:
    """Two that U+FFFD would make one. Neither is a name that rules could tell."""
    attack = attacks(BRANCHES.replace("refs/heads/fine/*", "refs/heads/*"))
    name, _ = attack.seeded()
    unharmed = attack.untouched(name)
    made = history()
    refs = (b"refs/heads/a\xfe", b"refs/heads/a\xff")
    raw = request(*((ZERO, made.tip, ref) for ref in refs), pack=made.pack())
    said = attack.push(name, raw)
    for ref in refs:
        assert b"ng " + ref in said.out, said
    unharmed()


def test_what_is_allowed_goes(branches: tuple[Attack, str]) -> None:
    attack, name = branches
    made = history()
    said = attack.push(name, request((ZERO, made.tip, "refs/heads/fine/x"), pack=made.pack()))
    assert b"ok refs/heads/fine/x" in said.out, said
    attack.push(name, request((made.tip, ZERO, "refs/heads/fine/x")))
