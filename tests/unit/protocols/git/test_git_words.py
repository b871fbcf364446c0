"""git's words, and a command as a line of text."""

from __future__ import annotations

import pytest

from protocols.contract import EffectKind
from protocols.git.facts import parts
from protocols.git.words import ACTIONS, FACTS, NEUTRAL, UPDATES, changes, is_canonical


@pytest.mark.parametrize(
    ("line", "action", "facts"),
    [
        ("list org/repo", "git.list", {"repo": "org/repo", "service": "fetch", "depth": 0}),
        (
            "fetch org/repo refs/heads/main depth=1 filter=blob:none",
            "git.fetch",
            {"wants": ("refs/heads/main",), "depth": 1, "filter": "blob:none", "version": 2},
        ),
        ("archive a/b/c", "git.archive", {"repo": "a/b/c", "service": "archive"}),
        (
            "push org/repo force refs/heads/main lost=3 paths=.github/workflows/ci.yml,README.md",
            "git.push",
            {
                "update": "force",
                "forced": True,
                "ref": "refs/heads/main",
                "lost": 3,
                "paths": (".github/workflows/ci.yml", "README.md"),
                "secrets": (),
                "atomic": False,
            },
        ),
        (
            "push r create refs/tags/v1 pack_bytes=2MiB secrets=aws-key atomic=true",
            "git.push",
            {"old": "0" * 40, "pack_bytes": 2 << 20, "secrets": ("aws-key",), "atomic": True},
        ),
        (
            "push r ? refs/heads/a paths=? commits=?",
            "git.push",
            {"update": None, "forced": None, "paths": None, "commits": None, "lost": None},
        ),
        (
            "push r ff refs/heads/a%20b authors=Ann%20Lee,%ff",
            "git.push",
            {"ref": "refs/heads/a b", "authors": ("Ann Lee", "\udcff")},
        ),
    ],
)
def test_lines(line: str, action: str, facts: dict[str, object]) -> None:
    (part,) = parts(line)
    assert part.action == action
    assert {name: part.facts[name] for name in facts} == facts
    assert set(part.facts) == set(FACTS)
    assert part.complete


def test_several_updates_share_what_is_the_pushs() -> None:
    first, second = parts("push r ff refs/heads/a lost=1; delete refs/heads/b pack_bytes=9")
    assert (first.facts["ref"], second.facts["ref"]) == ("refs/heads/a", "refs/heads/b")
    assert first.facts["pack_bytes"] == second.facts["pack_bytes"] == 9
    assert (first.facts["lost"], first.facts["update"], second.facts["update"]) == (
        1,
        "ff",
        "delete",
    )
    assert second.facts["new"] == "0" * 40


def test_a_part_can_be_incomplete() -> None:
    (part,) = parts("push r ff refs/heads/a complete=false")
    assert not part.complete
    assert part.why_incomplete


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "none of"),
        ("pull org/repo", "none of"),
        ("fetch", "repository"),
        ("fetch /org/repo", "repository"),
        ("fetch org/repo.git", "repository"),
        ("fetch org/repo; refs/heads/a", "several"),
        ("list org/repo refs/heads/a", "no place"),
        ("fetch org/repo paths=a", "no fact"),
        ("push org/repo", "an update is"),
        ("push org/repo main", "an update is"),
        ("push org/repo forced refs/heads/main", "none of create"),
        ("push org/repo ff refs/heads/main pahts=a", 'did you mean "paths"'),
        ("push org/repo ff refs/heads/main ref=x", "no fact"),
        ("push org/repo ff refs/heads/main lost=many", "number"),
        ("push org/repo ff refs/heads/main lost=٣", "number"),
        ("push org/repo ff refs/heads/main atomic=yes", "true or false"),
        ("push org/repo ff refs/heads/main lost=1 lost=2", "twice"),
        ("push org/repo ff refs/heads/main;", "an update is"),
    ],
)
def test_what_is_not_understood_is_unparsed(line: str, why: str) -> None:
    (part,) = parts(line)
    assert part.action == "git.unparsed"
    assert why in part.why_incomplete
    assert not part.complete
    assert set(part.facts.values()) == {None}


@pytest.mark.parametrize("name", ["a", "org/repo", "a/b/c", "A.b_c-d/x", ".dot/x", "a" * 255])
def test_canonical(name: str) -> None:
    assert is_canonical(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a.git", "a.git/b", "a/b.GIT",
        "-a", "a/-b", "a b", "a\n", "a\0", "a%2e", "á/b", "a/b.", "~a", "a" * 256, "a\\b", "a:b",
    ],
)  # fmt: skip
def test_not_canonical(name: str) -> None:
    assert not is_canonical(name)


def test_effects() -> None:
    kinds = {update: {e.kind for e in changes(update, "r")} for update in (*UPDATES, None)}
    destroys = {update for update, found in kinds.items() if EffectKind.DESTROY in found}
    assert destroys == {"force", "delete", None}
    assert kinds["delete"] == {EffectKind.DESTROY}


def test_the_tables_agree() -> None:
    assert set(NEUTRAL) == set(FACTS)
    assert all(action.startswith("git.") for action in ACTIONS)
