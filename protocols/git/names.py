"""Names on git's wire: refs, object ids, repositories. All of them are bytes."""

from __future__ import annotations

import re
from typing import Final

LONGEST_REF: Final = 4096
LONGEST_REPOSITORY: Final = 255
"""Characters of a repository's canonical name."""

_OID: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
# git-check-ref-format(1), rules 3, 4, 5, 8, 10; and bytes that end a line or a word.
_UNFIT: Final = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")


def is_oid(raw: bytes, length: int = 0) -> bool:
    """Lower-case hexadecimal, 40 digits (SHA-1) or 64 (SHA-256); of just ``length``
    where that is given."""
    return _OID.fullmatch(raw) is not None and (not length or len(raw) == length)


def is_ref(name: bytes, one_level: bool = False) -> bool:
    """Whether git-check-ref-format(1) takes ``name``. ``one_level`` also takes names
    without a slash (``HEAD``)."""
    if not name or len(name) > LONGEST_REF or name == b"@" or _UNFIT.search(name):
        return False
    if name[:1] == b"/" or name[-1:] in (b"/", b".") or (b"/" not in name and not one_level):
        return False
    return not any(part[:1] == b"." or part.endswith(b".lock") for part in name.split(b"/"))


def text(name: bytes) -> str:
    """For facts and people: loses nothing, and no two names collide."""
    return name.decode("utf-8", "surrogateescape")


class NameRefused(ValueError):
    """A path that names no repository here. Its text is fit for the client."""


_COMPONENT: Final = re.compile(rb"[A-Za-z0-9._-]{1,255}")


def canonical(path: bytes) -> str:
    """The one name of the repository that a client calls ``path``.

    ``/org/repo.git``, ``org/repo`` and ``org/repo/`` are the same one; whatever could
    be another spelling of it on some server (``//``, ``..``, a second ``.git``, ``.GIT``, a
    dot at the end, anything but ASCII) raises NameRefused.  Upper and lower case differ,
    as they do for git on Linux: a server that folds them needs rules that do.
    """
    if path[:1] == b"~" or path[:2] == b"/~":
        raise NameRefused("a path in somebody's home is not a repository here")
    name = path[1:] if path[:1] == b"/" else path
    name = name[:-1] if name[-1:] == b"/" else name
    name = name[:-4] if name.endswith(b".git") else name
    if len(name) > LONGEST_REPOSITORY:
        raise NameRefused("the path is too long")
    for part in name.split(b"/"):
        if _COMPONENT.fullmatch(part) is None:
            raise NameRefused("the path is not a repository's name")
        if part[:1] == b"-" or part[-1:] == b"." or part.lower().endswith(b".git"):
            raise NameRefused("the path could mean something else than a repository's name")
    return name.decode("ascii")
