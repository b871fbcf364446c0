from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.git.names import NameRefused, canonical, is_oid, is_ref, text

PIECES = st.lists(
    st.sampled_from(
        [
            b"refs/",
            b"heads/",
            b"main",
            b"/",
            b".",
            b"..",
            b"@",
            b"{",
            b"@{",
            b".lock",
            b"-",
            b"~",
            b"^",
            b":",
            b"?",
            b"*",
            b"[",
            b"\\",
            b" ",
            b"\n",
            b"\x7f",
            b"\xff",
            b"\xc3\xa9",
            b"a",
        ]
    ),
    max_size=6,
).map(b"".join)


def git_takes(name: bytes, *options: str) -> bool:
    words = ["git", "check-ref-format", *options, name]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@settings(max_examples=150, deadline=None)
@given(PIECES)
def test_refs_are_what_git_takes(name: bytes) -> None:
    if name[:1] == b"-":
        return  # an option to the command
    assert is_ref(name) is git_takes(name)
    assert is_ref(name, one_level=True) is git_takes(name, "--allow-onelevel")


@pytest.mark.parametrize("name", [b"refs/heads/main\n", b"refs/heads/a\0b", b"", b"x" * 5000])
def test_refs_that_no_command_line_can_show(name: bytes) -> None:
    assert not is_ref(name, one_level=True)


def test_object_ids() -> None:
    assert is_oid(b"a" * 40)
    assert is_oid(b"0" * 64, 64)
    for raw in (b"A" * 40, b"a" * 41, b"a" * 40 + b"\n", b"", b"g" * 40, b"\xd9\xa3" * 20):
        assert not is_oid(raw)
    assert not is_oid(b"a" * 40, 64)


def test_texts_do_not_collide() -> None:
    assert text(b"refs/heads/\xff") != text(b"refs/heads/\xfe")
    assert text(b"\xff").encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    "path",
    [b"/org/repo.git", b"org/repo", b"/org/repo", b"org/repo.git", b"/org/repo/", b"org/repo.git/"],
)
def test_one_repository_has_one_name(path: bytes) -> None:
    assert canonical(path) == "org/repo"


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b".git",
        b"/.git",
        b"a//b",
        b"//a",
        b"a/../b",
        b"../a",
        b"./a",
        b"a/.",
        b"a/b/..",
        b"a//",
        b"~/a",
        b"/~u/a",
        b"~u",
        b"-a",
        b"a/-b",
        b"--upload-pack=x",
        b"a%2eb",
        b"a b",
        b"a.git.git",
        b"a.GIT",
        b"a.Git/b",
        b"a/.git/b",
        b"x.git/y",
        b"a.",
        b"a./b",
        b"a.git.",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"a\x00",
        b"a\n",
        b"a.git\n",
        b"a\\b",
        b"a:b",
        b"a;b",
        b"'a'",
        b"x" * 256,
        b"a/" * 600 + b"b",
        b"\xef\xbc\x8e/a",
        b"a?b",
        b"a*",
    ],
)
def test_other_spellings_are_refused(path: bytes) -> None:
    with pytest.raises(NameRefused):
        canonical(path)


def test_case_and_dots_within_differ() -> None:
    assert canonical(b"Org/Repo.js") == "Org/Repo.js"
    assert canonical(b"org/.github") == "org/.github"


@given(st.text("aA./-~_g% it", max_size=12).map(str.encode))
def test_a_canonical_name_is_its_own(path: bytes) -> None:
    try:
        name = canonical(path)
    except NameRefused:
        return
    assert canonical(name.encode()) == name
    assert canonical(b"/" + name.encode() + b".git") == name
    assert not name.endswith(".git")
    assert {"", ".", ".."}.isdisjoint(name.split("/"))
