from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.ssh.exec import ARCHIVE, FETCH, PUSH, Exec, NotRun, command, dequote, parse, quote


@pytest.mark.parametrize(
    ("line", "want"),
    [
        (b"git-upload-pack '/org/repo.git'", Exec(FETCH, b"/org/repo.git")),
        (b"git-receive-pack 'org/repo'", Exec(PUSH, b"org/repo")),
        (b"git-upload-archive '/a b'", Exec(ARCHIVE, b"/a b")),
        (b"git-upload-pack 'it'\\''s'", Exec(FETCH, b"it's")),
        (b"git-upload-pack 'no'\\!''", Exec(FETCH, b"no!")),
        (b"git-upload-pack ''", Exec(FETCH, b"")),
    ],
)
def test_the_canonical_forms(line: bytes, want: Exec) -> None:
    assert parse(line) == want


@pytest.mark.parametrize(
    "line",
    [
        b"git-receive-pack 'a' ; id",
        b"git-receive-pack 'a';id",
        b"git-receive-pack ''a''",
        b"git-receive-pack 'a' 'b'",
        b"git-receive-pack 'a' ",
        b"git-receive-pack  'a'",
        b"git-receive-pack 'a'\n",
        b"git-receive-pack\n'a'",
        b"git-receive-pack\t'a'",
        b"git receive-pack 'a'",
        b"git upload-pack 'a'",
        b"git-receive-pack a",
        b'git-receive-pack "a"',
        b"git-receive-pack 'a",
        b"git-receive-pack 'a\0'",
        b"git-receive-pack 'a'\\'b'",
        b"git-receive-pack 'a'\\x'b'",
        b"git-receive-pack",
        b"git-receive-pack ",
        b"git-upload-pack --strict 'a'",
        b"git-shell -c 'a'",
        b"/usr/bin/git-upload-pack 'a'",
        b"GIT-UPLOAD-PACK 'a'",
        b" git-upload-pack 'a'",
        b"scp -t 'a'",
        b"git-lfs-authenticate 'a' download",
        b"",
        b"git-upload-pack '" + b"a" * 5000 + b"'",
    ],
)
def test_nothing_else_is_taken(line: bytes) -> None:
    with pytest.raises(NotRun):
        parse(line)


WORD = st.lists(
    st.sampled_from(
        [b"a", b"'", b"\\", b"!", b"'\\''", b"'\\!'", b" ", b"\n", b";", b"$x", b"\xff"]
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(WORD)
def test_quoting_is_gits(path: bytes) -> None:
    said = subprocess.run(
        ["git", "rev-parse", "--sq-quote", path], capture_output=True, check=True
    ).stdout
    assert said == b" " + quote(path) + b"\n"
    assert dequote(quote(path)) == path
    assert parse(command(FETCH, b"x" + path)) == Exec(FETCH, b"x" + path)


def git_shell(argument: bytes) -> bytes | None:
    """What git-shell's own sq_dequote makes of it: the path that it can't find.
    git-shell wants the path not to begin with a dash."""
    done = subprocess.run(
        ["git", "shell", "-c", b"git-upload-pack " + argument],
        capture_output=True,
        check=False,
        cwd="/",
    )
    if b"bad argument" in done.stderr or b"unrecognized command" in done.stderr:
        return None
    head, tail = b"fatal: '", b"' does not appear to be a git repository\n"
    assert done.stderr.startswith(head), done.stderr
    return done.stderr[len(head) : done.stderr.index(tail)]


@settings(max_examples=120, deadline=None)
@given(WORD, st.booleans())
def test_dequoting_is_gits(raw: bytes, quoted: bool) -> None:
    # A path that is nowhere, and printable: git's message would change other bytes.
    raw = raw.replace(b"\n", b"n").replace(b"\xff", b"f")
    argument = b"'/nowhere/" + raw + b"'" if quoted else raw
    got = dequote(argument)
    want = git_shell(argument)
    if got is None:
        # git also takes one that ends at a space only with a next word, which we don't.
        assert want is None
    elif want is None:
        assert got[:1] == b"-"
    else:
        assert got == want


def test_a_nul_cannot_be_quoted() -> None:
    with pytest.raises(ValueError):
        quote(b"a\0b")
