"""Row 24: what a rule asks about can't be hidden in a crowd: where a list in the survey
ends early, the fact is unknown and a rule that restricts applies. Goes red when the
list that was cut counts as the whole.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import (
    BLOB,
    COMMIT,
    PERSON,
    TREE,
    Attack,
    commit_of,
    entry,
    oid,
    pack,
    request,
    tree_of,
)

RULES = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "no-strangers"
on = "git.push"
where = { authors = "*stranger*" }
verdict = "block"
message = "only our own work"

[[rule]]
id = "no-links"
on = "git.push"
where = { symlinks = "zz*" }
verdict = "block"
message = "no links there"
"""
MANY = 1001


def strangers(old: str, tree: str) -> tuple[str, list[bytes]]:
    entries = []
    for number in range(MANY):
        name = b"stranger" if not number else b"someone %d" % number
        author = b"author " + PERSON.replace(b"Mallory", name)
        body = commit_of(tree, old).replace(b"author " + PERSON, author)
        old = oid(COMMIT, body)
        entries.append(entry(COMMIT, body))
    return old, entries


def links(old: str, tree: str) -> tuple[str, list[bytes]]:
    where = b"elsewhere"
    names = [b"a%04d" % number for number in range(MANY)] + [b"zz"]
    top = tree_of({name: (b"120000", oid(BLOB, where)) for name in names})
    commit = commit_of(oid(TREE, top), old)
    return oid(COMMIT, commit), [entry(BLOB, where), entry(TREE, top), entry(COMMIT, commit)]


@pytest.mark.parametrize(("made", "rule"), [(strangers, "no-strangers"), (links, "no-links")])
def test_the_last_of_a_thousand(
    attacks: Callable[..., Attack],
    made: Callable[[str, str], tuple[str, list[bytes]]],
    rule: str,
) -> None:
    attack = attacks(RULES)
    name, work = attack.seeded()
    unharmed = attack.untouched(name)
    new, entries = made(work.id(), work.id("main^{tree}"))
    said = attack.push(name, request((work.id(), new, "refs/heads/main"), pack=pack(entries)))
    assert b"ng refs/heads/main" in said.out, said
    assert rule in said.words
    unharmed()
