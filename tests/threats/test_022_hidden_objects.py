"""Row 22: a pack holds what its refs lead to, and nothing else. Goes red when the survey
does not count objects that no pushed ref reaches.
"""

from __future__ import annotations

import pytest
from git_kit import BLOB, COMMIT, TREE, Attack, commit_of, history, oid, request, tree_of

STOWAWAY = b"what nobody should see\n"


def stowaways() -> dict[str, list[tuple[int, bytes]]]:
    tree = tree_of({b"hidden": (b"100644", oid(BLOB, STOWAWAY))})
    commit = commit_of(oid(TREE, tree))
    return {
        "blob": [(BLOB, STOWAWAY)],
        "tree": [(BLOB, STOWAWAY), (TREE, tree)],
        "commit": [(BLOB, STOWAWAY), (TREE, tree), (COMMIT, commit)],
    }


@pytest.mark.parametrize("kind", list(stowaways()))
def test_an_object_that_no_ref_reaches(attack: Attack, kind: str) -> None:
    name, work = attack.seeded()
    unharmed = attack.untouched(name)
    made = history(work.id())
    more = stowaways()[kind]
    raw = request((work.id(), made.tip, "refs/heads/main"), pack=made.pack(*more))
    said = attack.push(name, raw)
    assert b"ng refs/heads/main" in said.out, said
    named = oid(*more[-1])
    told = said.words + str(attack.commands())
    assert named in told or named[:12] in told or named[:7] in told, "it is named"
    unharmed()
    there = attack.client.run(
        "--git-dir", attack.server.root / f"{name}.git", "cat-file", "-e", oid(BLOB, STOWAWAY)
    )
    assert there.returncode, "it is on the server"


def test_without_them_it_goes(attack: Attack) -> None:
    name, work = attack.seeded()
    made = history(work.id())
    said = attack.push(name, request((work.id(), made.tip, "refs/heads/main"), pack=made.pack()))
    assert b"ok refs/heads/main" in said.out, said
    assert attack.route.refs(name) == {"refs/heads/main": made.tip}
