"""Row 25: a server that takes shallow pushes forgets the parents of the commits that the
push calls shallow: the old tip is then lost, though the new commit names it as its parent.
Goes red when the survey passes over ``shallow`` lines.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import COMMIT, ZERO, Attack, commit_of, entry, history, oid, pack, pkt, request

FORWARD = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "forward-only"
on = "git.push"
where = { update = "force" }
verdict = "block"
message = "{ref} only goes forward"
"""


@pytest.fixture
def forward(attacks: Callable[..., Attack]) -> Attack:
    return attacks(FORWARD)


def test_history_is_not_cut_by_a_shallow_line(forward: Attack) -> None:
    name, work = forward.seeded()
    forward.server.git(name, "config", "receive.shallowUpdate", "true")
    unharmed = forward.untouched(name)
    made = history(work.id())
    raw = request((work.id(), made.tip, "refs/heads/main"), pack=made.pack())
    said = forward.push(name, pkt(b"shallow " + made.tip.encode()) + raw)
    assert b"ng refs/heads/main" in said.out, said
    unharmed()


def test_nor_at_a_commit_that_lies_about_upstream(forward: Attack) -> None:
    """Pushed before, and its branch deleted: no ref holds it, so it may be cut at."""
    name, work = forward.seeded()
    forward.server.git(name, "config", "receive.shallowUpdate", "true")
    middle = commit_of(work.id("main^{tree}"), work.id())
    first = request(
        (ZERO, oid(COMMIT, middle), "refs/heads/side"), pack=pack([entry(COMMIT, middle)])
    )
    assert b"ok refs/heads/side" in forward.push(name, first).out
    forward.server.git(name, "update-ref", "-d", "refs/heads/side")
    unharmed = forward.untouched(name)
    made = history(oid(COMMIT, middle))
    raw = request((work.id(), made.tip, "refs/heads/main"), pack=made.pack())
    said = forward.push(name, pkt(b"shallow " + oid(COMMIT, middle).encode()) + raw)
    assert b"ng refs/heads/main" in said.out, said
    unharmed()


def test_a_shallow_clone_still_pushes(forward: Attack) -> None:
    name, _ = forward.seeded(3)
    shallow = forward.route.work(name, "--depth", "1")
    new = shallow.commit("more", "more\n")
    shallow.git("push", "-q", "origin", "main", "main:side")
    assert set(forward.route.refs(name).values()) == {new}
