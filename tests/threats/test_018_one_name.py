"""Row 18: a repository has one name, for rules and for the real server.

A rule hides ``org/secret``; no other spelling shows it, and whatever is let in is asked for
upstream under exactly the name that was judged. Goes red when ``canonical`` lets ``..``, ``//``
or a second ``.git`` pass.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_kit import FLUSH, Attack

HIDES = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
verdict = "allow"

[[rule]]
id = "hidden"
on = "git.*"
where = { repo = "org/secret" }
verdict = "block"
message = "there is nothing to see"
"""
SPELLINGS = [
    "org/secret", "/org/secret", "org/secret/", "/org/secret.git/", "//org/secret.git",
    "org//secret.git", "org/./secret.git", "org/x/../secret.git", "../repositories/org/secret.git",
    "org/secret.git.git", "org/secret.GIT", "org/secret.", "org/secret.git.", "org/secret%2egit",
    "org%2fsecret.git", "org/s%65cret.git", "org/secret.git/.", "org/secret.git/objects",
    "org\\secret.git", "org/secret\u2024git", "org/se\u0301cret.git", "~/org/secret.git",
    "~root/org/secret.git", "org/secret.git\0", "org/secret.git?x", "org/secret.git#x",
    ".", "..", "/",
    "org/secret.git;", "ORG/../org/secret.git", "org/secret\u200b.git", "./org/secret.git",
]  # fmt: skip


@pytest.fixture
def hiding(attacks: Callable[..., Attack]) -> Attack:
    attack = attacks(HIDES)
    if not (attack.server.root / "org/secret.git").exists():
        attack.server.create("org/secret")
        attack.server.create("org/open")
    return attack


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_shows_it(hiding: Attack, path: str) -> None:
    if "\0" in path:
        path = path.replace("\0", "\\0")  # ssh itself can't send one
    before = hiding.ran()
    said = hiding.execute(f"git-upload-pack '{path}'", FLUSH)
    assert said.code not in (0, 255), said
    assert not said.out
    assert hiding.ran() == before


@pytest.mark.parametrize("path", ["org/open", "/org/open", "org/open.git", "org/open/"])
def test_what_is_open_is_asked_for_by_its_one_name(hiding: Attack, path: str) -> None:
    said = hiding.execute(f"git-upload-pack '{path}'", FLUSH)
    assert said.code == 0, said
    assert hiding.ran()[-1] == f"git-upload-pack '{hiding.server.root}/org/open.git'".encode()


def test_another_folder_is_not_served(hiding: Attack) -> None:
    """``repositories = ["org/*"]``."""
    hiding.server.create("private/plans")
    before = hiding.ran()
    assert hiding.execute("git-upload-pack 'private/plans'", FLUSH).code not in (0, 255)
    assert hiding.ran() == before
