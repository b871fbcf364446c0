"""Row 31: trees that would do harm when they are checked out are refused, as git's own strict
fsck does. (A submodule's path that ends in CR is refused by no fsck of git's: rules can block
``submodules``.) Goes red when index-pack runs without ``--fsck-objects``.
"""

from __future__ import annotations

import pytest
from git_kit import (
    BLOB,
    COMMIT,
    TREE,
    ZERO,
    Attack,
    commit_of,
    entry,
    oid,
    pack,
    request,
    tree_of,
)  # fmt: skip

CONTENT = b"content\n"
FILE = oid(BLOB, CONTENT)
LINK, PLAIN, FOLDER, MODULE = b"120000", b"100644", b"40000", b"160000"
NAMES = [
    b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git ", b".git.", b"..", b".", b"", b"a/b",
    b".g\xe2\x80\x8cit", b".git\\config", b".git::$INDEX_ALLOCATION",
]  # fmt: skip
MODULES = {
    "a url that is an option": b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=id\n',
    "a name that climbs": b'[submodule "../../x"]\n\tpath = x\n\turl = https://example.com/x\n',
    "a path that is an option": b'[submodule "x"]\n\tpath = -x\n\turl = https://example.com/x\n',
}


def push(attack: Attack, tree: bytes, *blobs: bytes, inner: bytes = b"") -> None:
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    commit = commit_of(oid(TREE, tree))
    objects = [(BLOB, CONTENT), *((BLOB, blob) for blob in blobs), (TREE, tree), (COMMIT, commit)]
    if inner:
        objects.insert(0, (TREE, inner))
    raw = request(
        (ZERO, oid(COMMIT, commit), "refs/heads/new"),
        pack=pack([entry(kind, body) for kind, body in objects]),
    )
    said = attack.push(name, raw)
    assert said.code or b"ng " in said.out, said
    unharmed()


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name(attack: Attack, name: bytes) -> None:
    push(attack, tree_of([(PLAIN, name, FILE)]))


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT"], ids=repr)
def test_a_folder(attack: Attack, name: bytes) -> None:
    inner = tree_of([(PLAIN, b"config", FILE)])
    push(attack, tree_of([(FOLDER, name, oid(TREE, inner))]), inner=inner)


def test_a_link_and_a_folder_of_one_name(attack: Attack) -> None:
    inner = tree_of([(PLAIN, b"hooks", FILE)])
    rows = [(LINK, b"a", FILE), (FOLDER, b"a", oid(TREE, inner))]
    push(attack, tree_of(rows), inner=inner)


def test_names_out_of_order(attack: Attack) -> None:
    push(attack, tree_of([(PLAIN, b"b", FILE), (PLAIN, b"a", FILE)]))


def test_gitmodules_that_is_a_link(attack: Attack) -> None:
    push(attack, tree_of([(LINK, b".gitmodules", FILE)]))


@pytest.mark.parametrize("kind", list(MODULES))
def test_gitmodules(attack: Attack, kind: str) -> None:
    body = MODULES[kind]
    rows = [(PLAIN, b".gitmodules", oid(BLOB, body)), (MODULE, b"x", "ab" * 20)]
    push(attack, tree_of(rows), body)
