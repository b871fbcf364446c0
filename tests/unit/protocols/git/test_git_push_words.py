"""A push in words, facts and reports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.globs import compile_globs
from protocols.contract import EffectKind
from protocols.git.commands import PushRequest, permitted
from protocols.git.pktline import FLUSH, pkt
from protocols.git.pushparts import PushWhole, matched, parts, unseen, word
from protocols.git.pushtext import COMMITS, PATHS, push_text, quoted
from protocols.git.pushwords import REMARKS, context, remarks
from protocols.git.report import last_word, report
from protocols.git.sideband import DATA, lines
from protocols.git.survey import CommitSeen, PathChange, RefUpdate, SecretSeen, Survey, UpdateSeen
from protocols.git.words import FACTS

ZERO, ONE, TWO = "0" * 40, "1234567" + "1" * 33, "89abcde" + "2" * 33
CHANGE = RefUpdate(ONE, TWO, "refs/heads/main")
CREATE = RefUpdate(ZERO, TWO, "refs/heads/new")
DELETE = RefUpdate(ONE, ZERO, "refs/heads/gone")
TAG = RefUpdate(ONE, TWO, "refs/tags/v1")
WHOLE = PushWhole("org/repo", "sha1", "ab" * 32, 1234, 7, ("ci.skip",), True, False)
ANN = "Ann <ann@example.org>"


def commit(number: int, subject: str = "a change") -> CommitSeen:
    return CommitSeen(f"{number:040x}", ANN, ANN, 1_700_000_000, subject)


FORCED = UpdateSeen(
    CHANGE,
    True,
    (commit(1), commit(2, "second\nFORGED: line\x1b[31m")),
    2,
    (commit(3), commit(4), commit(5)),
    3,
    (
        PathChange("README.md", "M", "100644", 3, 1),
        PathChange("bin/run", "A", "100755", 10, 0),
        PathChange("logo.png", "M", "100644", size=5000, binary=True),
        PathChange("link", "T", "120000"),
        PathChange("lib", "A", "160000"),
        PathChange("a\nb\tc", "D", ""),
    ),
)
SURVEY = Survey(
    (FORCED,),
    objects=7,
    commits=2,
    authors=(ANN,),
    committers=(ANN,),
    secrets=(SecretSeen("aws-key", "conf/x", "1" * 40), SecretSeen("aws-key", "y", "2" * 40)),
    largest=5000,
    symlinks=("link",),
    submodules=("lib",),
)

TEXT = f"""\
push to org/repo: force refs/heads/main 1234567..89abcde (2 commits added, 3 lost)

refs/heads/main: FORCED: the old tip is not in the new history
  old {ONE}
  new {TWO}
  LOST, if nothing else leads to it: 3 commits
    000000000000 2023-11-14 22:13 Ann <ann@example.org>: a change
    000000000000 2023-11-14 22:13 Ann <ann@example.org>: a change
    000000000000 2023-11-14 22:13 Ann <ann@example.org>: a change
  added: 2 commits
    000000000000 2023-11-14 22:13 Ann <ann@example.org>: a change
    000000000000 2023-11-14 22:13 Ann <ann@example.org>: "second\\nFORGED: line\\033[31m"
  changed: 6 files, +13 -1
    M README.md | +3 -1
    A bin/run | +10 -0 | executable
    M logo.png | binary, 5000 bytes
    T link | a symbolic link
    A lib | a submodule
    D "a\\nb\\tc"

pack: 7 objects, 1234 bytes, sha256 {"ab" * 32}
atomic: all refs or none
push options: ci.skip
SECRETS: aws-key in conf/x, aws-key in y
symbolic links: link
submodules: lib"""


def test_the_text_says_all() -> None:
    assert push_text(WHOLE, (FORCED,), SURVEY) == TEXT


def test_several_updates_and_what_is_not_seen() -> None:
    updates = (CHANGE, CREATE, DELETE, TAG)
    survey = unseen(updates, "the upstream is deaf")
    said = push_text(PushWhole("org/repo"), survey.updates, survey).splitlines()
    assert said[0] == ("push to org/repo: 4 updates (1 force, 1 unknown, 1 delete, 1 create)")
    assert said[1].startswith("NOT ALL IS SHOWN: the upstream is deaf; refs/heads/main: the up")
    assert "refs/heads/main: CHANGED, whether by fast-forward is UNKNOWN" in said
    assert "refs/heads/gone: DELETED" in said
    assert "  LOST, if nothing else leads to it: an unknown number of commits" in said
    assert said[-1] == "pack: none"


@pytest.mark.parametrize(
    ("update", "forced", "sentence"),
    [
        (CHANGE, False, "update refs/heads/main 1234567..89abcde (1 commit added)"),
        (CREATE, False, "create refs/heads/new 89abcde (1 commit added)"),
        (DELETE, True, "delete refs/heads/gone 1234567 (0 lost)"),
        (CHANGE, None, "update refs/heads/main 1234567..89abcde (whether commits are lost is unk"),
        (TAG, False, "force refs/tags/v1 1234567..89abcde (1 commit added, 0 lost)"),
    ],
)
def test_headlines(update: RefUpdate, forced: bool | None, sentence: str) -> None:
    seen = UpdateSeen(update, forced, (commit(1),), 1)
    assert push_text(WHOLE, (seen,), SURVEY).startswith(f"push to org/repo: {sentence}")


def test_lists_say_what_they_leave_out() -> None:
    many = replace(
        FORCED,
        added=tuple(map(commit, range(100))),
        added_count=1000,
        paths=tuple(PathChange(f"p{n}", "A", "100644", 1, 0) for n in range(150)),
    )
    said = push_text(WHOLE, (many,), SURVEY)
    assert f"    ... and {1000 - COMMITS} commits more, not shown\n" in said
    assert f"    ... and {150 - PATHS} files more, not shown\n" in said
    assert "  changed: 150 files, +150 -0" in said


def test_the_text_is_bounded() -> None:
    long = replace(
        FORCED,
        added=tuple(commit(n, "x" * 1000) for n in range(100)),
        paths=tuple(PathChange(f"{n}" * 500, "A", "100644", 1, 0) for n in range(150)),
    )
    said = push_text(WHOLE, (long,) * 10_000, SURVEY)
    assert len(said) < 250_000
    assert "lines more about these updates, not shown\n" in said
    assert "... and 9800 updates more, not shown\n" in said
    assert said.endswith("submodules: lib")


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_no_name_breaks_a_line(name: str) -> None:
    said = quoted(name)
    assert len(said.splitlines()) <= 1
    assert not any(ord(letter) < 32 or letter == "\u202e" for letter in said)
    said.encode("utf-8")
    seen = UpdateSeen(
        replace(CREATE, ref=name),
        False,
        (CommitSeen(ONE, name, name, 10**18, name),),
        1,
        paths=(PathChange(name, "A", "100644"),),
        whole=False,
        why=name,
    )
    plain = replace(seen, update=CREATE, added=(commit(1),), why="x")
    survey = Survey((seen,), missed="x")
    count = push_text(WHOLE, (plain,), survey).count("\n")
    whole = push_text(WHOLE, (seen,), survey)
    assert whole.count("\n") == count
    assert len(whole.splitlines()) == count + 1


def test_quoting_is_injective_enough() -> None:
    assert quoted('a"b') == r'"a\"b"'
    assert quoted("a\\nb") == r'"a\\nb"'
    assert quoted("a\nb") == r'"a\nb"'
    assert quoted("\udcff") == r'"\377"'
    assert quoted("ü") == "ü"
    assert quoted("\u202e") == r'"\342\200\256"'
    assert quoted(" a") == '" a"'


def test_parts_hold_every_fact() -> None:
    (part,) = parts(WHOLE, (FORCED,), SURVEY)
    assert set(part.facts) == set(FACTS)
    assert part.complete
    assert {effect.kind for effect in part.effects} == {EffectKind.WRITE, EffectKind.DESTROY}
    assert {effect.object for effect in part.effects} == {"refs/heads/main"}
    expected = {
        "update": "force",
        "forced": True,
        "commits": 2,
        "lost": 3,
        "secrets": ("aws-key",),
        "secret_paths": ("conf/x", "y"),
        "pack_bytes": 1234,
        "objects": 7,
        "atomic": True,
        "push_options": ("ci.skip",),
    }
    assert {name: part.facts[name] for name in expected} == expected
    assert part.facts["paths"] == tuple(path.path for path in FORCED.paths)


def test_parts_are_incomplete_where_something_was_not_seen() -> None:
    (part,) = parts(WHOLE, (replace(FORCED, whole=False, why="cut"),), SURVEY)
    assert (part.complete, part.why_incomplete, part.facts["paths"]) == (False, "cut", None)
    (part,) = parts(WHOLE, (FORCED,), replace(SURVEY, missed="large files"))
    assert (part.complete, part.why_incomplete) == (False, "large files")
    (part,) = parts(WHOLE, (replace(FORCED, forced=None),), SURVEY)
    assert (part.complete, part.facts["update"]) == (False, None)
    (seen,) = matched((CREATE,), SURVEY)
    assert (seen.update, seen.whole) == (CREATE, False)
    blind = unseen((CHANGE,), "deaf")
    (part,) = parts(WHOLE, blind.updates, blind, looked=False)
    none = ("secrets", "secret_paths", "authors", "symlinks", "paths", "commits", "lost")
    assert {part.facts[name] for name in none} == {None}


def test_a_tag_that_moves_is_forced() -> None:
    assert word(UpdateSeen(TAG, False)) == "force"
    assert word(UpdateSeen(TAG, None)) == "force"
    assert word(UpdateSeen(replace(TAG, old=ZERO), False)) == "create"
    assert word(UpdateSeen(replace(TAG, new=ZERO), True)) == "delete"


def test_the_digest_covers_all() -> None:
    request = PushRequest([CHANGE], {b"atomic": None, b"agent": b"git/2"}, [ONE], ["ci.skip"])
    said = context(WHOLE, request)
    others = [
        context(replace(WHOLE, pack="cd" * 32), request),
        context(replace(WHOLE, size=1), request),
        context(replace(WHOLE, repository="org/other"), request),
        context(replace(WHOLE, algorithm="sha256"), request),
        context(WHOLE, replace(request, updates=[CREATE])),
        context(WHOLE, replace(request, options=["ci"])),
        context(WHOLE, replace(request, shallow=[])),
        context(WHOLE, replace(request, capabilities={})),
    ]
    assert len({said, *others}) == len(others) + 1
    assert "no pack" in context(PushWhole("org/repo"), request)


def test_remarks_are_capped() -> None:
    seen = tuple(UpdateSeen(replace(CREATE, ref=f"refs/heads/{n}"), False) for n in range(1500))
    told = list(remarks(WHOLE, seen, "why"))
    assert len(told) == REMARKS + 1
    assert told[-1].fields == {"repository": "org/repo", "more": 1500 - REMARKS}
    assert told[0].fields["refused"] == "why"


def test_reports_are_well_formed() -> None:
    inner = pkt(b"unpack ok\n") + pkt(b"ng refs/heads/\xff a  b [31m\n") + FLUSH
    verdicts = [("refs/heads/\udcff", "a\r\n b\x1b[31m")]
    plain = report(verdicts, side_band=False)
    assert plain.count(b"\n") == 2
    assert plain == inner
    assert report(verdicts) == lines(DATA, inner) + FLUSH
    long = report([("refs/heads/x", "ü" * 5000)] * 3000)
    assert long.endswith(FLUSH)
    assert last_word("a\nb", True) == b"0009\x03a b\n" + FLUSH
    assert last_word("a\nb", False) == pkt(b"ERR a b")


def test_push_options_are_permitted_by_patterns() -> None:
    assert permitted("ci.skip", ("ci.skip",))
    assert not permitted("ci.skip2", ("ci.skip",))
    assert permitted("ci.variable=A=1", ("x", "ci.variable=*"))
    assert not permitted("ci.variable", ("ci.variable=*",))
    assert not permitted("x", ())
    assert permitted("abcb", ("a*b",))
    assert not permitted("ab", ("ab*b",))
    assert permitted("a.b.c", ("*b*",))
    assert not permitted("a", ("a*a",))


@given(st.text("ab", max_size=8), st.text("ab*", max_size=6))
def test_patterns_are_those_of_rules(option: str, pattern: str) -> None:
    assert permitted(option, (pattern,)) == compile_globs((pattern,))(option)
