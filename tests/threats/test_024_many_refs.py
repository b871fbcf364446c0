"""Row 24: a push is judged ref by ref and answered as a whole: one refusal refuses all of
them, and all are on record. Goes red when only the first part of a push is judged.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import ZERO, Attack

GUARDED = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "not-that-one"
on = "git.push"
where = { ref = "refs/heads/release" }
verdict = "block"
message = "{ref} is for releases"
"""


@pytest.mark.parametrize("place", [0, 57, 99])
def test_one_of_a_hundred(attacks: Callable[..., Attack], place: int) -> None:
    guarded = attacks(GUARDED)
    name, work = guarded.seeded(3)
    for number in range(60):
        work.git("update-ref", f"refs/heads/old-{number:02}", f"HEAD~{number % 3}")
    work.git("push", "-q", "origin", "refs/heads/old-*:refs/heads/old-*")
    unharmed = guarded.untouched(name)
    lines = [f"main:refs/heads/new-{n}" for n in range(30)]
    lines += [f":refs/heads/old-{n:02}" for n in range(30)]
    lines += [f"+main~1:refs/heads/old-{n:02}" for n in range(30, 60) if n % 3 != 1]
    lines += [f"main:refs/tags/tag-{n}" for n in range(99 - len(lines))]
    lines.insert(place, "main:refs/heads/release")
    assert len(lines) == 100
    done = work.run("push", "--porcelain", "origin", *lines)
    assert done.returncode == 1
    refused = [line for line in done.stdout.splitlines() if line.startswith("!\t")]
    assert len(refused) == 100, done.stdout[-2000:]
    assert "not-that-one" in done.stdout
    unharmed()
    told = str(guarded.commands())
    for line in lines:
        ref = line.rpartition(":")[2]
        assert ref in told, f"{ref} is not on record"
    assert ZERO[:7] in told or "create" in told
