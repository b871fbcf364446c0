"""Commits, tags and trees as values (gitformat-pack(5), git-mktree(1), git-fsck(1)).

Object ids are raw bytes here, 20 of SHA-1 or 32 of SHA-256. What graphs and paths
are made of is read strictly; names of people and messages are only shown, so
odd ones are kept as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

RAW_LENGTH: Final = {"sha1": 20, "sha256": 32}
"""Bytes of an object id, by object format."""

TREE: Final = 0o040000
SYMLINK: Final = 0o120000
GITLINK: Final = 0o160000
KIND: Final = 0o170000
"""The bits of a mode that tell what an entry is."""
_KINDS: Final = frozenset((TREE, SYMLINK, GITLINK, 0o100000))

Entry: TypeAlias = "tuple[int, bytes]"
"""Mode and object id of a tree's entry."""
Entries: TypeAlias = "dict[bytes, Entry]"
"""A tree, by name."""

_SUBJECT_MOST: Final = 200
_PERSON_MOST: Final = 500


class ObjectError(ValueError):
    """Not an object of the kind that it should be. Quotes no bytes of it."""


@dataclass(frozen=True, slots=True)
class Commit:
    """``author`` and ``committer`` as ``Name <mail>``, ``time`` the committer's, Unix
    seconds (0 when it can't be read)."""

    tree: bytes
    parents: tuple[bytes, ...]
    author: str
    committer: str
    time: int
    subject: str


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag; ``kind`` is what it points to (``commit``, ``tag``, ...)."""

    target: bytes
    kind: str


def _patterns(digits: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    oid = b"[0-9a-f]{%d}" % digits
    return (
        re.compile(rb"tree (" + oid + rb")\n((?:parent " + oid + rb"\n)*)"),
        re.compile(rb"object (" + oid + rb")\ntype (commit|tree|blob|tag)\n"),
        re.compile(rb"([0-7]{5,6}) ([^\0/]+)\0(.{%d})" % (digits // 2), re.DOTALL),
    )


_BY_LENGTH: Final = {length: _patterns(2 * length) for length in RAW_LENGTH.values()}
_PERSON: Final = re.compile(rb"(.*?) ?(?:(-?[0-9]{1,18}) [+-][0-9]{1,8})?")


def text(raw: bytes) -> str:
    """Bytes as text, losing nothing and letting no two collide."""
    return raw.decode("utf-8", "surrogateescape")


def read_commit(raw: bytes, length: int) -> Commit:
    """The commit ``raw``, in a repository whose object ids have ``length`` bytes."""
    head = _BY_LENGTH[length][0].match(raw)
    if head is None:
        raise ObjectError("a commit without a tree")
    fields, _, message = raw[head.end() :].partition(b"\n\n")
    if fields.startswith(b"parent "):
        # Git also reads ids in capitals, which are not read here: a parent would be missed.
        raise ObjectError("a commit with a parent that is not written as git writes them")
    author = committer = b""
    for line in fields.split(b"\n"):
        if line.startswith(b"author ") and not author:
            author = line[7:]
        elif line.startswith(b"committer ") and not committer:
            committer = line[10:]
    written = _PERSON.fullmatch(committer)
    subject = message.lstrip(b"\n").partition(b"\n")[0]
    parents = head[2].decode()
    width = 2 * length + 8
    return Commit(
        bytes.fromhex(head[1].decode()),
        tuple(
            bytes.fromhex(parents[at + 7 : at + width - 1]) for at in range(0, len(parents), width)
        ),
        _name(author),
        _name(committer),
        int(written[2]) if written is not None and written[2] else 0,
        text(subject[:_SUBJECT_MOST]),
    )


def _name(person: bytes) -> str:
    found = _PERSON.fullmatch(person)
    return text((found[1] if found is not None else person)[:_PERSON_MOST])


def read_tag(raw: bytes, length: int) -> Tag:
    head = _BY_LENGTH[length][1].match(raw)
    if head is None:
        raise ObjectError("a tag that points to nothing")
    return Tag(bytes.fromhex(head[1].decode()), head[2].decode())


def read_tree(raw: bytes, length: int) -> Entries:
    """Raises ObjectError for a tree that is no list of entries to its last byte, has
    a name twice, or a mode that is none."""
    found = _BY_LENGTH[length][2].findall(raw)
    read = sum(len(mode) + len(name) for mode, name, _ in found) + len(found) * (length + 2)
    # findall skips what does not match: then the sum falls short.
    if read != len(raw):
        raise ObjectError("a tree that can't be read")
    entries = {name: (int(mode, 8), oid) for mode, name, oid in found}
    if len(entries) != len(found):
        raise ObjectError("a tree with a name in it twice")
    if any(mode & KIND not in _KINDS for mode, _ in entries.values()):
        raise ObjectError("a tree with an entry of an unknown kind")
    return entries
