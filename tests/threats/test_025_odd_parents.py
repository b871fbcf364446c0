"""Row 25: a commit's parents are those that git sees, however they are written. Goes red
when the reader of commits passes over an id in capitals, which git takes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import COMMIT, Attack, commit_of, entry, oid, pack, request

NO_STRANGERS = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "no-strangers"
on = "git.push"
where = { ref = "refs/heads/main", authors = "*stranger*" }
verdict = "block"
message = "only our own work"
"""


@pytest.mark.parametrize("capitals", [False, True])
def test_a_merge_of_strangers_work(attacks: Callable[..., Attack], capitals: bool) -> None:
    attack = attacks(NO_STRANGERS)
    name, work = attack.seeded()
    old, tree = work.id(), work.id("main^{tree}")
    by = "--author=stranger <s@example.com>"
    work.git("commit", "-q", "--allow-empty", "-m", "Strange", by)
    work.git("push", "-q", "origin", "main:side")
    unharmed = attack.untouched(name)
    strange = work.id().upper() if capitals else work.id()
    merge = commit_of(tree, old, strange)
    raw = pack([entry(COMMIT, merge)])
    said = attack.push(name, request((old, oid(COMMIT, merge), "refs/heads/main"), pack=raw))
    assert b"ng refs/heads/main" in said.out, said
    assert ("not written as git writes them" if capitals else "no-strangers") in said.words
    unharmed()
