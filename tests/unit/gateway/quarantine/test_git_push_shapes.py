"""What pushes do, each of a shape that once fooled a gateway (rows 23 to 25, 31)."""

from __future__ import annotations

from pathlib import Path

import pytest
from push_lab import Lab, git, said

from protocols.git.survey import RefUpdate


@pytest.fixture(params=[True, False], ids=["filter", "no-filter"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    """``main`` is upstream, with two commits."""
    lab = Lab(tmp_path, filters=request.param)
    lab.commit({"a": "1\n2\n3\n", "d/b": "b\n", "d/e/c": "c\n"}, "first")
    lab.commit({"a": "1\n2\n"}, "second")
    lab.push("main")
    return lab


def amend(lab: Lab) -> str:
    git(lab.client, "commit", "-q", "--amend", "--allow-empty", "-m", "amended")
    return said(lab.client, "rev-parse", "HEAD")


def test_a_commit_on_top(lab: Lab) -> None:
    new = lab.commit({"a": "1\n2\nx\ny\n", "d/new": "n\n", "d/b": None})
    survey = lab.look(lab.updates(main="HEAD"))
    (seen,) = survey.updates
    assert (seen.forced, seen.whole, seen.added_count, seen.lost_count) == (False, True, 1, 0)
    assert [c.oid for c in seen.added] == [new]
    assert [(p.path, p.how, p.plus, p.minus) for p in seen.paths] == [
        ("a", "M", 2, 0),
        ("d/b", "D", 0, 1),
        ("d/new", "A", 1, 0),
    ]
    assert survey.authors == ("author@example.org <author@example.org>",)
    assert survey.committers == ("committer@example.org <committer@example.org>",)
    assert survey.commits == 1


def test_a_force_push_is_invisible_on_the_wire(lab: Lab) -> None:
    """The same line and a pack of one commit, whether forced or not: only the
    ancestry, which the upstream knows, tells them apart."""
    on_top = lab.commit(text="third")
    straight, pack = lab.updates(main="HEAD"), lab.pack([on_top], [lab.tip("refs/heads/main")])
    git(lab.client, "reset", "-q", "--hard", "HEAD~1")
    beside = amend(lab)
    forced, other = lab.updates(main="HEAD"), lab.pack([beside], [lab.tip("refs/heads/main")])
    assert straight[0].old == forced[0].old
    assert pack[:12] == other[:12].replace(other[8:12], pack[8:12])
    assert lab.look(straight, pack).updates[0].forced is False
    seen = lab.look(forced, other).updates[0]
    assert seen.forced is True
    assert [c.subject for c in seen.lost] == ["second"]


def test_amend(lab: Lab) -> None:
    old = lab.tip("refs/heads/main")
    amend(lab)
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.lost_count, seen.added_count) == (True, 1, 1)
    assert [(c.oid, c.subject) for c in seen.lost] == [(old, "second")]
    assert seen.whole
    # Nothing differs between the tips, but the new commit changes this file.
    assert [(p.path, p.how) for p in seen.paths] == [("a", "M")]


def test_reset_has_an_empty_pack(lab: Lab) -> None:
    git(lab.client, "reset", "-q", "--hard", "HEAD~1")
    updates = lab.updates(main="HEAD")
    pack = lab.pack([updates[0].new], [updates[0].new])
    assert len(pack) == 32
    for each in (pack, b""):
        (seen,) = lab.look(updates, each).updates
        assert (seen.forced, seen.lost_count, seen.added_count) == (True, 1, 0)
        assert [(p.path, p.plus, p.minus) for p in seen.paths] == [("a", 1, 0)]


def test_unrelated_history(lab: Lab) -> None:
    git(lab.client, "checkout", "-q", "--orphan", "other")
    lab.commit({"z": "z\n"})
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.added_count) == (True, 1)
    assert [c.subject for c in seen.lost] == ["second", "first"]
    assert {p.path for p in seen.paths} >= {"z"}


def test_a_shallow_client(lab: Lab) -> None:
    shallow = lab.folder / "shallow"
    git(lab.folder, "clone", "-q", "--depth", "1", f"file://{lab.server}", str(shallow))
    lab.client = shallow
    for forced in (False, True):
        if forced:
            amend(lab)
            git(shallow, "commit", "-q", "--amend", "-m", "over the border")
        else:
            lab.commit({"d/b": "new\n"})
        (seen,) = lab.look(lab.updates(main="HEAD")).updates
        assert seen.forced is forced
        assert seen.whole
        git(shallow, "reset", "-q", "--hard", "origin/main")


def test_merges(lab: Lab) -> None:
    git(lab.client, "checkout", "-q", "-b", "side", "HEAD~1")
    lab.commit({"side": "s\n"}, "on side")
    git(lab.client, "checkout", "-q", "main")
    git(lab.client, "merge", "-q", "--no-ff", "-m", "merge", "side")
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.added_count, seen.whole) == (False, 2, True)
    assert [p.path for p in seen.paths] == ["side"]


def test_commits_that_the_upstream_has_elsewhere_are_new_to_the_ref(lab: Lab) -> None:
    """Row 23: push them to a branch of their own first, then to the guarded one."""
    lab.commit({"evil": "1\n"}, "unapproved")
    lab.commit({"evil": None}, "hidden again")
    lab.push("HEAD:refs/heads/mine")
    survey = lab.look(lab.updates(main="HEAD"), b"")
    (seen,) = survey.updates
    assert (seen.forced, seen.added_count, seen.whole) == (False, 2, True)
    assert [c.subject for c in seen.added] == ["hidden again", "unapproved"]
    assert [p.path for p in seen.paths] == ["evil"]
    assert len(survey.authors) == 1


def test_a_branch_of_the_upstream_merged_in(lab: Lab) -> None:
    git(lab.client, "checkout", "-q", "-b", "side", "HEAD~1")
    lab.commit({".github/workflows/x": "s\n"}, "on side")
    lab.push("side")
    git(lab.client, "checkout", "-q", "main")
    git(lab.client, "merge", "-q", "--no-ff", "-m", "merge", "side")
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.added_count, seen.whole) == (False, 2, True)
    assert [p.path for p in seen.paths] == [".github/workflows/x"]


def test_what_is_changed_and_restored_counts(lab: Lab) -> None:
    lab.commit({"CODEOWNERS": "me\n", "a": "other\n"})
    lab.commit({"CODEOWNERS": None, "a": "1\n2\n"})
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert [p.path for p in seen.paths] == ["CODEOWNERS", "a"]


def test_tags(lab: Lab) -> None:
    git(lab.client, "tag", "-a", "-m", "one", "v1", "HEAD~1")
    git(lab.client, "tag", "light", "HEAD~1")
    survey = lab.look(lab.updates(**{"refs/tags/v1": "v1", "refs/tags/light": "light"}))
    assert not survey.refusal
    assert [u.forced for u in survey.updates] == [False, False]
    lab.push("v1", "light")
    git(lab.client, "tag", "-f", "-a", "-m", "two", "v1", "HEAD")
    git(lab.client, "tag", "-f", "light", "HEAD")
    on = lab.look(lab.updates(**{"refs/tags/v1": "v1", "refs/tags/light": "light"}))
    assert [(u.forced, u.lost_count, u.added_count) for u in on.updates] == [(False, 0, 1)] * 2
    lab.push("v1", "light")
    git(lab.client, "tag", "-f", "-a", "-m", "three", "v1", "HEAD~1")
    git(lab.client, "tag", "-f", "light", "HEAD~1")
    back = lab.look(lab.updates(**{"refs/tags/v1": "v1", "refs/tags/light": "light"}))
    assert [(u.forced, u.lost_count) for u in back.updates] == [(True, 1)] * 2


def test_a_tag_on_the_upstream_gets_another_name(lab: Lab) -> None:
    git(lab.client, "tag", "-a", "-m", "one", "v1", "HEAD")
    lab.push("v1")
    made = lab.look(lab.updates(**{"refs/tags/again": "v1"}), b"")
    assert (made.refusal, made.updates[0].forced) == ("", False)
    moved = lab.look(lab.updates(main="v1"), b"")
    assert (moved.updates[0].forced, moved.updates[0].lost_count) == (False, 0)


def test_refs_to_what_is_no_commit(lab: Lab) -> None:
    blob = git(lab.client, "hash-object", "-w", "--stdin", feed=b"only\n").decode().strip()
    git(lab.client, "update-ref", "refs/tags/file", blob)
    made = lab.look(lab.updates(**{"refs/tags/file": "refs/tags/file"}))
    assert made.refusal == ""
    lab.push("refs/tags/file")
    git(lab.client, "update-ref", "refs/tags/file", "HEAD")
    moved = lab.look(lab.updates(**{"refs/tags/file": "refs/tags/file"}))
    assert (moved.updates[0].forced, moved.updates[0].whole) == (True, False)


def test_deletes_and_deleting_then_creating(lab: Lab) -> None:
    lab.commit({"b": "b\n"}, "only here")
    lab.push("HEAD:refs/heads/gone", "HEAD~1:refs/heads/kept")
    gone, kept = lab.look(lab.updates(gone="", kept="")).updates
    assert (gone.forced, gone.lost_count, gone.added_count) == (True, 1, 0)
    assert [c.subject for c in gone.lost] == ["only here"]
    assert (kept.forced, kept.lost_count) == (True, 0)
    # Both at once: what replaces the branch keeps its commits.
    both = lab.look(lab.updates(gone="", fresh="HEAD"))
    assert both.updates[0].lost_count == 0
    git(lab.server, "update-ref", "-d", "refs/heads/gone")
    amend(lab)
    (fresh,) = lab.look(lab.updates(gone="HEAD")).updates
    assert (fresh.forced, fresh.lost_count, fresh.whole) == (False, 0, True)
    assert [p.path for p in fresh.paths] == ["b"]


def test_a_client_that_knows_nothing_of_the_upstream(lab: Lab) -> None:
    """Its pack has all history, of which the upstream has most."""
    old = lab.tip("refs/heads/main")
    lab.commit({"n": "n\n"})
    updates = lab.updates(main="HEAD")
    (seen,) = lab.look(updates, known=()).updates
    assert (seen.forced, seen.added_count) == (False, 1)
    assert [p.path for p in seen.paths] == ["n"]
    git(lab.client, "reset", "-q", "--hard", "HEAD~2")
    lab.commit({"m": "m\n"})
    (seen,) = lab.look(lab.updates(main="HEAD"), known=()).updates
    assert (seen.forced, [c.oid for c in seen.lost]) == (True, [old])
    assert seen.added_count == 1


def test_a_ref_that_moved_meanwhile(lab: Lab) -> None:
    lab.commit()
    (update,) = lab.updates(main="HEAD")
    stale = RefUpdate(said(lab.client, "rev-parse", "HEAD~2"), update.new, update.ref)
    assert "moved" in lab.look([stale]).refusal


def test_a_ref_that_the_upstream_hides(lab: Lab) -> None:
    git(lab.server, "config", "uploadpack.hideRefs", "refs/heads")
    amend(lab)
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.whole, seen.lost_count) == (None, False, None)
    assert "show" in seen.why


def test_a_base_that_nobody_has(lab: Lab) -> None:
    amend(lab)
    base = said(lab.client, "rev-parse", "HEAD")
    lab.commit({"x": "x\n"})
    (seen,) = lab.look(lab.updates(main="HEAD"), known=[base]).updates
    assert (seen.forced, seen.whole) == (True, False)
    assert seen.why


@pytest.mark.parametrize("version", [0, 1])
def test_an_upstream_that_speaks_an_older_version(lab: Lab, version: int) -> None:
    lab.commit({"x": "x\n"})
    (seen,) = lab.look(lab.updates(main="HEAD"), version=version).updates
    assert (seen.forced, seen.whole) == (False, False)
    git(lab.client, "reset", "-q", "--hard", "HEAD~1")
    amend(lab)
    (seen,) = lab.look(lab.updates(main="HEAD"), version=version).updates
    assert (seen.forced, seen.whole, seen.lost_count) == (None, False, None)
    assert "version 2 (sshd: AcceptEnv GIT_PROTOCOL)" in seen.why


def test_a_creation_that_nothing_is_known_of(lab: Lab) -> None:
    (seen,) = lab.look(lab.updates(side="HEAD~1"), b"", version=0).updates
    assert (seen.forced, seen.whole, seen.added_count) == (False, False, None)
    (seen,) = lab.look(lab.updates(side="HEAD~1"), b"").updates
    assert (seen.forced, seen.whole, seen.added_count) == (False, True, 0)


def test_more_than_may_be_fetched(lab: Lab) -> None:
    lab.commit({f"many/{n}": f"{n}\n" * 50 for n in range(300)})
    lab.push("main")
    amend(lab)
    (seen,) = lab.look(lab.updates(main="HEAD"), most_bytes=100).updates
    assert (seen.forced, seen.whole) == (True, False)
    assert "larger" in seen.why
    assert lab.came < 300_000


def test_an_empty_upstream(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.commit({"a": "a\n", "d/b": b"\0\1"}, "root")
    survey = lab.look(lab.updates(main="HEAD"))
    (seen,) = survey.updates
    assert (survey.refusal, seen.forced, seen.whole) == ("", False, True)
    assert [(p.path, p.how, p.plus, p.binary) for p in seen.paths] == [
        ("a", "A", 1, False),
        ("d/b", "A", None, True),
    ]


def test_sha256(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "sha256")
    lab.commit({"a": "a\n"})
    lab.push("main")
    lab.commit({"a": "b\n"})
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.whole, [p.how for p in seen.paths]) == (False, True, ["M"])
    git(lab.client, "commit", "-q", "--amend", "-m", "other")
    lab.push("main")
    git(lab.client, "commit", "-q", "--amend", "-m", "again")
    (seen,) = lab.look(lab.updates(main="HEAD")).updates
    assert (seen.forced, seen.lost_count) == (True, 1)
