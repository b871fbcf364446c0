"""A Survey as plain lists, for the way between two processes, and back.

What comes back is checked: the other process reads what peers wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from itertools import product
from operator import attrgetter
from typing import TypeVar

from protocols.git.survey import (
    CommitSeen,
    PathChange,
    RefUpdate,
    SecretSeen,
    Survey,
    UpdateSeen,
)

T = TypeVar("T")


_PATH_FIELDS = attrgetter("path", "how", "mode", "plus", "minus", "size", "binary")
_ABSENT = type(None)
_PATH_TYPES = frozenset(
    (str, str, str, *numbers, bool) for numbers in product((int, _ABSENT), repeat=3)
)


def to_plain(survey: Survey) -> object:
    """Lists and tuples, with all fields in their order. What updates may share, paths
    and commits, stands once in a table and by its place there in each."""
    paths: dict[int, int] = {}
    commits: dict[int, int] = {}
    path_rows: list[object] = []
    commit_rows: list[object] = []

    def of_paths(listed: Sequence[PathChange]) -> list[int]:
        for each in listed:
            if id(each) not in paths:
                paths[id(each)] = len(path_rows)
                path_rows.append(_PATH_FIELDS(each))
        return [paths[id(each)] for each in listed]

    def of_commits(listed: Sequence[CommitSeen]) -> list[int]:
        for each in listed:
            if id(each) not in commits:
                commits[id(each)] = len(commit_rows)
                commit_rows.append(astuple(each))
        return [commits[id(each)] for each in listed]

    updates = [
        (
            *(astuple(each.update), each.forced),
            *(of_commits(each.added), each.added_count),
            *(of_commits(each.lost), each.lost_count),
            *(of_paths(each.paths), each.whole, each.why),
        )
        for each in survey.updates
    ]
    rest = astuple(replace(survey, updates=()))[1:]
    return (path_rows, commit_rows, updates, *rest)


def from_plain(plain: object) -> Survey:
    """Raises ValueError for what ``to_plain`` does not make."""
    path_rows, commit_rows, updates, refusal, objects, *rest = _row(plain, 13)
    commits, authors, committers, secrets, largest, symlinks, submodules, missed = rest
    path_table = _rows(path_rows, _path)
    commit_table = _rows(commit_rows, _commit)
    return Survey(
        _rows(updates, lambda each: _update(each, path_table, commit_table)),
        _text(refusal),
        _number(objects),
        _number(commits),
        _rows(authors, _text),
        _rows(committers, _text),
        _rows(secrets, lambda each: SecretSeen(*map(_text, _row(each, 3)))),
        _number(largest),
        _rows(symlinks, _text),
        _rows(submodules, _text),
        _text(missed),
    )


def updates_from_plain(plain: object) -> tuple[RefUpdate, ...]:
    return _rows(plain, lambda each: RefUpdate(*map(_text, _row(each, 3))))


def _update(
    plain: object, paths: Sequence[PathChange], commits: Sequence[CommitSeen]
) -> UpdateSeen:
    update, forced, added, added_count, lost, lost_count, changed, whole, why = _row(plain, 9)
    return UpdateSeen(
        RefUpdate(*map(_text, _row(update, 3))),
        None if forced is None else _flag(forced),
        _places(added, commits),
        _perhaps(added_count),
        _places(lost, commits),
        _perhaps(lost_count),
        _places(changed, paths),
        _flag(whole),
        _text(why),
    )


def _places(plain: object, table: Sequence[T]) -> tuple[T, ...]:
    if not isinstance(plain, (list, tuple)) or not {int}.issuperset(map(type, plain)):
        raise ValueError("not places in a table of a survey")
    if plain and not (min(plain) >= 0 and max(plain) < len(table)):
        raise ValueError("a place that is not in its table")
    return tuple(map(table.__getitem__, plain))


def _commit(plain: object) -> CommitSeen:
    oid, author, committer, time, subject = _row(plain, 5)
    return CommitSeen(_text(oid), _text(author), _text(committer), _number(time), _text(subject))


def _path(plain: object) -> PathChange:
    # There may be many of these: one look at all types at once.
    if not isinstance(plain, (list, tuple)) or tuple(map(type, plain)) not in _PATH_TYPES:
        raise ValueError("not a path of a survey")
    return PathChange(*plain)


def _row(plain: object, length: int) -> Sequence[object]:
    if not isinstance(plain, (list, tuple)) or len(plain) != length:
        raise ValueError("not a row of a survey")
    return plain


def _rows(plain: object, one: Callable[[object], T]) -> tuple[T, ...]:
    if not isinstance(plain, (list, tuple)):
        raise ValueError("not rows of a survey")
    return tuple(map(one, plain))


def _text(plain: object) -> str:
    if not isinstance(plain, str):
        raise ValueError("not a text of a survey")
    return plain


def _flag(plain: object) -> bool:
    if not isinstance(plain, bool):
        raise ValueError("not a flag of a survey")
    return plain


def _number(plain: object) -> int:
    if not isinstance(plain, int) or isinstance(plain, bool):
        raise ValueError("not a number of a survey")
    return plain


def _perhaps(plain: object) -> int | None:
    return None if plain is None else _number(plain)
