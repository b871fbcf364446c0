"""Row 23: a new branch is judged by all that it brings, so that what may not go to main
does not get in under another name first. Goes red when an update from the zero id counts as
having no commits.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import Attack

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
where = { paths = ".github/workflows/*" }
verdict = "block"
message = "the build stays as it is"
"""


@pytest.fixture
def guarded(attacks: Callable[..., Attack]) -> Attack:
    return attacks(GUARDED)


@pytest.mark.parametrize(
    "ref", ["refs/heads/side", "refs/tags/v1", "refs/notes/x", "refs/heads/main"]
)
def test_it_is_gated_wherever_it_goes(guarded: Attack, ref: str) -> None:
    name, work = guarded.seeded()
    unharmed = guarded.untouched(name)
    work.commit(".github/workflows/build.yml", "on: push")
    work.commit("harmless", "on top of it")
    done = work.run("push", "origin", f"main:{ref}")
    assert done.returncode == 1
    assert "no-workflows" in done.stdout
    unharmed()


def test_undone_in_a_later_commit(guarded: Attack) -> None:
    """The tips differ by nothing; a commit between them does."""
    name, work = guarded.seeded()
    unharmed = guarded.untouched(name)
    work.commit(".github/workflows/build.yml", "on: push")
    work.git("rm", "-q", ".github/workflows/build.yml")
    work.git("commit", "-q", "-m", "Take it back")
    done = work.run("push", "origin", "main:side")
    assert done.returncode == 1
    assert "no-workflows" in done.stdout
    unharmed()


def test_its_parent_afterwards(guarded: Attack) -> None:
    name, work = guarded.seeded()
    parent = work.commit(".github/workflows/build.yml", "on: push")
    work.commit("harmless", "on top of it")
    for line in ("main:side", f"{parent}:refs/heads/main", "main:main"):
        assert work.run("push", "origin", line).returncode == 1
    assert parent not in guarded.route.refs(name).values()
