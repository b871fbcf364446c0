"""The command line of an ``exec`` request: one of git's three services, or nothing.

git, libgit2, JGit, dulwich and go-git all send ``git-upload-pack 'path'``; nobody
sends ``git upload-pack`` unless told to, so that isn't taken.  The quoting is git's
own (``sq_quote_buf`` and ``sq_dequote`` of its quote.c): single quotes, with ``'`` and
``!`` outside of them behind a backslash.  There is no shell anywhere.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

FETCH: Final = "fetch"
PUSH: Final = "push"
ARCHIVE: Final = "archive"
PROGRAMS: Final = {
    b"git-upload-pack": FETCH,
    b"git-receive-pack": PUSH,
    b"git-upload-archive": ARCHIVE,
}
LONGEST: Final = 4096
"""Bytes of a command line."""

_QUOTED: Final = re.compile(rb"'[^'\x00]*(?:'\\['!]'[^'\x00]*)*'")
_ESCAPE: Final = re.compile(rb"'\\(['!])'")
_SPECIAL: Final = re.compile(rb"['!]")


class Exec(NamedTuple):
    """``service`` is ``fetch``, ``push`` or ``archive``; ``path`` is unquoted, and not
    looked at yet (``protocols.git.names.canonical``)."""

    service: str
    path: bytes


class NotRun(ValueError):
    """A command line that is none of git's. Its text is fit for the client."""


def quote(path: bytes) -> bytes:
    """As git quotes: ValueError for a NUL."""
    if b"\0" in path:
        raise ValueError("a NUL can't be quoted")
    return b"'" + _SPECIAL.sub(rb"'\\\g<0>'", path) + b"'"


def dequote(raw: bytes) -> bytes | None:
    """The inverse, and None where git's ``sq_dequote`` finds no quoted word that
    ends where ``raw`` ends."""
    if _QUOTED.fullmatch(raw) is None:
        return None
    return _ESCAPE.sub(rb"\1", raw[1:-1])


def parse(line: bytes) -> Exec:
    """Which service, of which path. Raises NotRun."""
    if len(line) > LONGEST:
        raise NotRun("the command line is too long")
    program, _, rest = line.partition(b" ")
    service = PROGRAMS.get(program)
    if service is None:
        raise NotRun("only git's own commands run here: clone, fetch, push and archive")
    path = dequote(rest)
    if path is None:
        raise NotRun("the command's path is not quoted as git quotes it")
    return Exec(service, path)


def command(service: str, path: bytes) -> bytes:
    """The command line for the upstream. KeyError for no service."""
    programs = {name: program for program, name in PROGRAMS.items()}
    return programs[service] + b" " + quote(path)
