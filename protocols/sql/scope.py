"""Which relations a name may stand for at a place in a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from protocols.sql.findings import Findings
from protocols.sql.functions import ROW_FUNCTIONS

Names = tuple[str, ...]


class Scope:
    """One FROM clause, and the scopes around it.

    ``names`` maps the name that qualifies columns to the base relations
    behind it: () for a subquery, CTE or function, whose own columns were
    told of where they were read.  ``renamed`` are names whose columns have
    aliases, so that a column's name says nothing about which one it is.
    """

    __slots__ = ("names", "outer", "renamed")

    def __init__(self, outer: Scope | None = None) -> None:
        self.names: dict[str, Names] = {}
        self.renamed: set[str] = set()
        self.outer = outer

    def add(self, name: str, bases: Names, renamed: bool = False) -> None:
        # The same name twice in one scope is an error upstream unless one of
        # the two is hidden by a join's alias: keep both.
        self.names[name] = (*self.names.get(name, ()), *bases)
        if renamed:
            self.renamed.add(name)

    def bases(self) -> Names:
        return tuple(dict.fromkeys(b for names in self.names.values() for b in names))

    def levels(self) -> Iterator[Scope]:
        level: Scope | None = self
        while level is not None:
            yield level
            level = level.outer

    def find(self, name: str) -> tuple[Names, bool] | None:
        """The bases behind a qualifying name, and whether it is renamed."""
        for level in self.levels():
            if name in level.names:
                return level.names[name], name in level.renamed
        return None


Ctes = Mapping[str, None]


def refer(found: Findings, scope: Scope, names: Names, star: bool) -> None:
    """Write down what a column reference reads. ``names`` without the star.

    Which way it errs: where several relations may be meant, all are told.
    """
    if star:
        _refer_star(found, scope, names)
    elif len(names) == 1:
        _refer_bare(found, scope, names[0])
    elif names:
        _refer_qualified(found, scope, names)


def _refer_star(found: Findings, scope: Scope, names: Names) -> None:
    if not names:
        bases: Names = scope.bases()
    elif len(names) == 1:
        seen = scope.find(names[0])
        bases = seen[0] if seen else (names[0],)
    else:
        bases = (".".join(names[-2:]),)
    for base in bases:
        found.columns[f"{base}.*"] = None


def _refer_bare(found: Findings, scope: Scope, name: str) -> None:
    whole = scope.find(name)
    if whole is not None:  # the relation itself: a value of its whole row
        for base in whole[0]:
            found.columns[f"{base}.*"] = None
    derived = False
    candidates: dict[str, None] = {}
    for level in scope.levels():
        for alias, bases in level.names.items():
            derived = derived or not bases
            for base in bases:
                candidates[f"{base}.*" if alias in level.renamed else f"{base}.{name}"] = None
    found.columns.update(candidates)
    if candidates and (derived or len(candidates) > 1):
        found.columns[f"*.{name}"] = None


def _refer_qualified(found: Findings, scope: Scope, names: Names) -> None:
    name = names[-1]
    if len(names) > 2:
        bases: Names = (".".join(names[-3:-1]),)
        renamed = False
    else:
        seen = scope.find(names[-2])
        bases, renamed = seen if seen is not None else ((names[-2],), False)
        if seen is None:
            found.columns[f"*.{name}"] = None
    for base in bases:
        found.columns[f"{base}.*" if renamed else f"{base}.{name}"] = None
        if name in ROW_FUNCTIONS:  # u.row_to_json is row_to_json(u)
            found.columns[f"{base}.*"] = None
    if len(bases) > 1:
        found.columns[f"*.{name}"] = None
