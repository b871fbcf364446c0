"""What a push does: the outcome of looking into it, as values.

Made by the inquiry (``inquiry.py``: what the upstream says about ancestry) and
by the examination of the pack; judged and shown by the push lane.  Names that
git lets be any bytes (refs, paths, authors) are text here, decoded as UTF-8
with ``surrogateescape``, which loses nothing and lets no two collide.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One command of a push: ``old`` or ``new`` all zeros creates or deletes."""

    old: str
    new: str
    ref: str

    @property
    def creates(self) -> bool:
        return not self.old.strip("0")

    @property
    def deletes(self) -> bool:
        return not self.new.strip("0")


@dataclass(frozen=True, slots=True)
class CommitSeen:
    """A commit: who, when (Unix seconds), and the first line of its message."""

    oid: str
    author: str
    committer: str
    time: int
    subject: str


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path that differs. ``how`` is git's letter: ``A`` added, ``M`` modified (its
    mode counts), ``D`` deleted, ``T`` of another type (file, symbolic link, submodule).
    ``mode`` is the new mode in octal ("" when deleted),
    ``plus`` and ``minus`` lines, None where they are not known or it is binary;
    ``size`` the new blob's bytes, None where it is not in the pack."""

    path: str
    how: str
    mode: str
    plus: int | None = None
    minus: int | None = None
    size: int | None = None
    binary: bool = False


@dataclass(frozen=True, slots=True)
class SecretSeen:
    """A new blob that holds what looks like a secret."""

    kind: str
    path: str
    oid: str


@dataclass(frozen=True, slots=True)
class UpdateSeen:
    """What one update does. ``forced``: the old tip is not an ancestor of the new
    one (git merge-base --is-ancestor); None where nobody could say, True for a
    delete, False for a creation. ``added`` and ``lost`` are capped, nearest to the tip
    first; the counts are not, and None where they are not known. ``added`` are
    commits new to the ref, or for a creation those that no branch upstream reaches (no
    branch or tag, where it is not a branch itself) and those in the pack. ``lost`` are those that
    the new tip does not reach; for a delete, that no other ref reaches.
    ``paths`` are all paths that differ between the old and the new tip, or that any
    added commit changes (git diff-tree; of a merge, what differs from every parent),
    sorted; ``how`` and the numbers are those between the tips, or of the commit nearest
    to the new tip.  ``whole`` False: something of this is not known, ``why`` says why."""

    update: RefUpdate
    forced: bool | None
    added: tuple[CommitSeen, ...] = ()
    added_count: int | None = 0
    lost: tuple[CommitSeen, ...] = ()
    lost_count: int | None = 0
    paths: tuple[PathChange, ...] = ()
    whole: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """``refusal``: why no rule may let this push through (a broken pack, an
    object that no pushed ref reaches), "" when there is no such reason.
    ``objects`` and ``commits`` count what is in the pack; ``authors`` and ``committers``
    (``Name <mail>``) are those of all added commits. ``largest`` is the size in bytes of the
    largest new blob. ``symlinks`` and ``submodules`` are paths that the push adds or
    changes. ``missed`` says what could not be looked into, "" for nothing: then any of
    these may lack something."""

    updates: tuple[UpdateSeen, ...]
    refusal: str = ""
    objects: int = 0
    commits: int = 0
    authors: tuple[str, ...] = ()
    committers: tuple[str, ...] = ()
    secrets: tuple[SecretSeen, ...] = ()
    largest: int = 0
    symlinks: tuple[str, ...] = ()
    submodules: tuple[str, ...] = ()
    missed: str = ""
