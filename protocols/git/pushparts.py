"""A push as rules see it: one part per ref update."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.contract import Fact, Part
from protocols.git.looking import NAMES_MOST
from protocols.git.survey import RefUpdate, Survey, UpdateSeen
from protocols.git.words import NEUTRAL, changes

TAGS = "refs/tags/"


@dataclass(frozen=True, slots=True)
class PushWhole:
    """What concerns a push as a whole. ``pack`` is the SHA-256 of the pack in hex,
    "" where there is none, ``size`` its bytes, ``objects`` how many it declares."""

    repository: str
    algorithm: str = "sha1"
    pack: str = ""
    size: int = 0
    objects: int = 0
    options: tuple[str, ...] = ()
    atomic: bool = False
    shallow: bool = False


def unseen(updates: tuple[RefUpdate, ...], why: str) -> Survey:
    """The survey of a push that could not be looked into."""
    return Survey(tuple(_unseen(update, why) for update in updates), missed=why)


def _unseen(update: RefUpdate, why: str) -> UpdateSeen:
    return UpdateSeen(
        update,
        forced=False if update.creates else True if update.deletes else None,
        added_count=0 if update.deletes else None,
        lost_count=0 if update.creates else None,
        whole=False,
        why=why,
    )


def matched(updates: tuple[RefUpdate, ...], survey: Survey) -> tuple[UpdateSeen, ...]:
    """What the survey saw of each update, in the order of the commands."""
    seen = {one.update: one for one in survey.updates}
    return tuple(seen.get(u) or _unseen(u, "it was not looked into") for u in updates)


def word(seen: UpdateSeen) -> str | None:
    """``create``, ``ff``, ``force`` or ``delete``; None where nobody could say."""
    update = seen.update
    if update.creates:
        return "create"
    if update.deletes:
        return "delete"
    if update.ref.startswith(TAGS):
        return "force"
    if seen.forced is None:
        return None
    return "force" if seen.forced else "ff"


def parts(
    whole: PushWhole, seen: tuple[UpdateSeen, ...], survey: Survey, looked: bool = True
) -> tuple[Part, ...]:
    """One ``git.push`` part per update. Names that may be more than were seen, and all
    that the survey would say where nobody ``looked``, are unknown (None): rules that
    restrict then match."""
    # Who wrote, and what was changed, hangs on commits that may not have been seen.
    whole_told = looked and all(one.whole for one in seen)
    secrets = survey.secrets if looked and not _cut(survey, survey.secrets) else None
    shared: dict[str, Fact] = {
        **NEUTRAL,
        "repo": whole.repository,
        "service": "push",
        "authors": None if not whole_told or _cut(survey, survey.authors) else survey.authors,
        "committers": None
        if not whole_told or _cut(survey, survey.committers)
        else survey.committers,
        "pack_bytes": whole.size,
        "objects": whole.objects,
        "largest_file": survey.largest if looked else None,
        "secrets": _distinct(one.kind for one in secrets) if secrets is not None else None,
        "secret_paths": _distinct(one.path for one in secrets) if secrets is not None else None,
        "symlinks": None if not whole_told or _cut(survey, survey.symlinks) else survey.symlinks,
        "submodules": None
        if not whole_told or _cut(survey, survey.submodules)
        else survey.submodules,
        "push_options": whole.options,
        "atomic": whole.atomic,
        "shallow": whole.shallow,
    }
    return tuple(_part(shared, one, survey.missed) for one in seen)


def _cut(survey: Survey, names: Sequence[object]) -> bool:
    """Whether there may be more of these than are told."""
    return bool(survey.missed) and len(names) >= NAMES_MOST


def _part(shared: dict[str, Fact], seen: UpdateSeen, missed: str) -> Part:
    update = word(seen)
    doubts = [
        *([seen.why or "not all of it was seen"] if not seen.whole else []),
        *([missed] if missed and missed != seen.why else []),
    ]
    if not doubts and seen.forced is None:
        doubts.append("whether the old tip is in the new one's history is unknown")
    facts: dict[str, Fact] = {
        **shared,
        "ref": seen.update.ref,
        "update": update,
        "forced": seen.forced,
        "old": seen.update.old,
        "new": seen.update.new,
        "commits": seen.added_count,
        "lost": seen.lost_count,
        "paths": tuple(change.path for change in seen.paths) if seen.whole else None,
    }
    return Part(
        "git.push",
        changes(update, seen.update.ref),
        facts,
        complete=not doubts,
        why_incomplete="; ".join(doubts),
    )


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
