"""Row 23: a new branch is judged by what it brings to branches, also when the pack is empty
since the server has it all: from another kind of ref, or left over from one that is gone.
Goes red when a creation is taken to bring no more than its pack.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import BLOB, TREE, ZERO, Attack, entry, oid, pack, request, tree_of
from git_stack import Work

GUARDED = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "no-workflows"
on = "git.push"
where = { ref = ["refs/heads/*", "refs/tags/*"], paths = ".github/workflows/*" }
verdict = "block"
message = "the build stays as it is"
"""


@pytest.fixture
def guarded(attacks: Callable[..., Attack]) -> Attack:
    return attacks(GUARDED)


def scratch(attack: Attack) -> tuple[str, Work, str]:
    """A repository with a commit that changes the build, where that is not guarded."""
    name, work = attack.seeded()
    evil = work.commit(".github/workflows/build.yml", "on: push")
    work.git("push", "-q", "origin", "main:refs/scratch/x")
    return name, work, evil


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("ref", ["refs/heads/side", "refs/tags/v1"])
def test_it_was_pushed_elsewhere_before(guarded: Attack, ref: str, gone: bool) -> None:
    name, _, evil = scratch(guarded)
    if gone:
        guarded.server.git(name, "update-ref", "-d", "refs/scratch/x")
    unharmed = guarded.untouched(name)
    said = guarded.push(name, request((ZERO, evil, ref), pack=pack([])))
    assert b"ng " + ref.encode() in said.out, said
    assert "no-workflows" in said.words
    unharmed()


def test_a_harmless_commit_on_top(guarded: Attack) -> None:
    name, work, _ = scratch(guarded)
    unharmed = guarded.untouched(name)
    work.commit("harmless", "on top of it")
    done = work.run("push", "origin", "main:side")
    assert done.returncode == 1
    assert "no-workflows" in done.stdout
    unharmed()


def test_a_tag_of_a_tree(guarded: Attack) -> None:
    name, _ = guarded.seeded()
    unharmed = guarded.untouched(name)
    content = b"on: push"
    workflows = tree_of({b"build.yml": (b"100644", oid(BLOB, content))})
    github = tree_of({b"workflows": (b"40000", oid(TREE, workflows))})
    top = tree_of({b".github": (b"40000", oid(TREE, github))})
    raw = pack([entry(BLOB, content), *(entry(TREE, tree) for tree in (workflows, github, top))])
    said = guarded.push(name, request((ZERO, oid(TREE, top), "refs/tags/v1"), pack=raw))
    assert b"ng refs/tags/v1" in said.out, said
    assert "no-workflows" in said.words
    unharmed()


def test_branches_from_branches_bring_nothing_new(guarded: Attack) -> None:
    """The build was changed where that was permitted; who builds on it later changes
    nothing there."""
    name, work, _ = scratch(guarded)
    work.git("push", "-q", guarded.server.root / f"{name}.git", "main")
    work.commit("later", "1")
    work.git("push", "-q", "origin", "main")
    refs = ("main~1:refs/heads/older", "main:refs/heads/same", "main~1:refs/tags/v1")
    work.git("push", "-q", "origin", *refs)
    work.git("checkout", "-q", "-b", "side", "main~1")
    work.commit("file", "2")
    work.git("push", "-q", "origin", "side")
    assert len(guarded.route.refs(name)) == 6
