"""Row 25: whether a push rewrites history shows on no wire; the gateway finds out, and says
what ``git merge-base --is-ancestor`` says. (10,000 random histories:
``tests/unit/gateway/quarantine``.) Goes red when an empty pack counts as a fast-forward.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from git_kit import Attack
from git_stack import Work

ONLY_FORWARD = """
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
    return attacks(ONLY_FORWARD)


def is_ancestor(work: Work, old: str, new: str) -> bool:
    return work.run("merge-base", "--is-ancestor", old, new).returncode == 0


def rewrite(work: Work, how: str) -> str:
    """Change ``main`` in the way that is named; the ref spec to push."""
    if how == "amend":
        work.git("commit", "-q", "--amend", "-m", "Another")
    elif how == "reset":
        work.git("reset", "-q", "--hard", "HEAD~1")
    elif how == "unrelated":
        work.git("checkout", "-q", "--orphan", "fresh")
        work.git("commit", "-q", "-m", "Unrelated")
        return "fresh:main"
    elif how == "rebase":
        work.git("checkout", "-q", "-b", "side", "HEAD~2")
        work.commit("side", "side")
        work.git("cherry-pick", "main~1", "main")
        return "side:main"
    elif how == "merge":
        work.git("checkout", "-q", "-b", "side", "HEAD~2")
        work.commit("side", "side")
        work.git("merge", "-q", "--no-edit", "main")
        return "side:main"
    elif how == "tag":
        work.git("tag", "-f", "v1", "HEAD")
        return "v1"
    return "main"


@pytest.mark.parametrize("how", ["amend", "reset", "unrelated", "rebase", "tag"])
def test_forced(forward: Attack, how: str) -> None:
    name, work = forward.seeded(4)
    work.git("tag", "v1", "HEAD~1")
    work.git("push", "-q", "origin", "v1")
    unharmed = forward.untouched(name)
    done = work.run("push", "--force", "origin", rewrite(work, how))
    assert done.returncode == 1
    assert "forward-only" in done.stdout
    unharmed()


@pytest.mark.parametrize("how", ["merge", "plain", "far"])
def test_not_forced(forward: Attack, how: str) -> None:
    name, work = forward.seeded(4)
    if how == "far":
        for number in range(30):
            work.commit("far", str(number))
    elif how == "plain":
        work.commit("more", "more")
    spec = rewrite(work, how)
    work.git("push", "-q", "origin", spec)
    assert forward.route.refs(name)["refs/heads/main"] == work.id(spec.split(":")[0])


def test_from_a_shallow_clone(forward: Attack) -> None:
    name, _ = forward.seeded(4)
    work = forward.route.work(name, "--depth", "1")
    tip = work.commit("shallow", "shallow")
    done = work.run("push", "origin", "main")
    if done.returncode:  # erring towards forced is allowed
        assert "forward-only" in done.stdout
    else:
        assert forward.route.refs(name)["refs/heads/main"] == tip
    work.git("checkout", "-q", "--orphan", "fresh")
    work.git("commit", "-q", "-m", "Unrelated")
    unharmed = forward.untouched(name)
    assert work.run("push", "--force", "origin", "fresh:main").returncode == 1
    unharmed()


def test_deleted_and_made_again(forward: Attack) -> None:
    """Two pushes; neither is forced as git sees it, and rules can block deletions.
    Here the second is a creation."""
    name, work = forward.seeded(3)
    work.git("push", "-q", "origin", "main:topic")
    work.git("push", "-q", "origin", ":topic")
    work.git("push", "-q", "origin", "main~1:refs/heads/topic")
    assert forward.route.refs(name)["refs/heads/topic"] == work.id("main~1")
    told = str(forward.commands())
    assert "create" in told


def test_random_histories(forward: Attack, tmp_path: Path) -> None:
    """Forty branches of a random history move; those that git calls forward go
    through one by one, the others don't."""
    rng = random.Random(25)
    name = forward.route.repository()
    work = forward.route.new_work(name)
    empty = work.git("hash-object", "-t", "tree", "-w", "/dev/null")
    commits: list[str] = []
    for number in range(60):
        parents = rng.sample(commits, min(len(commits), rng.choice((0, 1, 1, 1, 2))))
        more = [word for parent in parents for word in ("-p", parent)]
        commits.append(work.git("commit-tree", empty, *more, "-m", str(number)))
    pairs = [rng.sample(commits, 2) for _ in range(12)]
    pairs += [sorted(rng.sample(commits[40:], 2), key=commits.index) for _ in range(6)]
    work.git(
        "push", "-q", "origin", *(f"{old}:refs/heads/b{n}" for n, (old, _) in enumerate(pairs))
    )
    for number, (old, new) in enumerate(pairs):
        done = work.run("push", "--force", "origin", f"{new}:refs/heads/b{number}")
        forced = not is_ancestor(work, old, new)
        assert bool(done.returncode) is forced, (old, new, done.stdout)
        there = forward.route.refs(name)[f"refs/heads/b{number}"]
        assert there == (old if forced else new)
