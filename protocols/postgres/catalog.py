"""Where the columns of a result come from: the catalog, remembered.

The memory is the target's, shared by all sessions of the process
(``Destined.memory``).  What it holds can be out of date: DDL that passes
through the gateway must call ``forget`` (when it completes, and again when its
transaction ends), DDL done elsewhere is seen only once somebody clears the
memory.  Until then a column renamed elsewhere goes by its old name, and a view
redefined elsewhere is traced as it was, which errs towards showing it: keep
the age of a target's memory bounded (a minute or so); ``memory.clear()`` will
do, nothing outside the memory refers to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from protocols.contract import Column
from protocols.postgres.fields import Field
from protocols.postgres.kinds import BUILTIN, FIRST_OWN_OID, Shape
from protocols.postgres.lookup import MOST_NAMES, CatalogErrand, Missing, Snapshot
from protocols.postgres.relations import Origins, Relation, Relations
from protocols.postgres.shadows import KEY as FUNCTIONS
from protocols.postgres.shadows import TOKEN
from protocols.sql.sources import Sources, sources_of_view
from protocols.sql.trace import trace_view
from protocols.sql.words import Output

__all__ = [
    "CatalogErrand",
    "Missing",
    "Snapshot",
    "forget",
    "generated",
    "learn",
    "resolve",
    "shapes",
]

_KEY: Final = "postgres catalog"
_READS_NOTHING: Final = frozenset({"constant", "count"})
_MOST: Final = 50_000
"""Relations or types in memory. Past that all is forgotten and learnt anew."""
_MOST_RESOLVED: Final = 1000
"""Results whose columns are remembered whole."""


class _Catalog:
    __slots__ = ("named", "names", "relations", "resolved", "shapes", "token")

    def __init__(self) -> None:
        self.token = object()
        self.relations = Relations(trace_view, sources_of_view)
        self.named: dict[str, tuple[int, ...]] = {}
        self.names: dict[int, str] = {}
        self.shapes: dict[int, Shape] = {}
        self.resolved: dict[object, tuple[Column, ...]] = {}


def _catalog(memory: dict[object, object]) -> _Catalog:
    known = memory.get(_KEY)
    if not isinstance(known, _Catalog):
        known = memory[_KEY] = _Catalog()
    return known


def resolve(
    memory: dict[object, object],
    fields: Sequence[Field],
    outputs: Sequence[Output] | None = None,
    sources: Sources | None = None,
    *,
    last: bool = False,
    dirty: bool = False,
) -> tuple[Column, ...] | Missing:
    """The columns of ``fields`` with their origins, or what to look up first:
    run ``CatalogErrand`` on it, ``learn`` its result, and call again with
    ``last=True``, which never says ``Missing``: what is still not known is
    unknown (a table that an open transaction made, a failed errand).

    A table's column goes by its own name and by its name in all ancestors and
    descendants (inheritance, partitions); a view's by its own name and those
    of all base columns that it reads; materialized views likewise. A column
    of a temporary table is unknown, as what a session put there is its own
    work.  A column without a table reads nothing when ``outputs`` (one for each
    field, else ignored) says that it is a constant or ``count(*)``; else it is
    computed, from any column of any relation that ``sources`` names and of those
    behind them, and unknown where one of them is, or ``sources`` is None.

    ``dirty`` True: the session's open transaction ran DDL. The side
    connection can't see that, so every table's column is unknown.
    """
    catalog = _catalog(memory)
    if outputs is not None and len(outputs) != len(fields):
        outputs = None
    key = (tuple(fields), outputs if outputs is None else tuple(outputs), sources, dirty)
    known = catalog.resolved.get(key)
    if known is not None:
        return known
    oids = {f.table_oid for f in fields if f.table_oid and not dirty}
    tables = sources.tables if sources is not None and not dirty else ()
    if len(tables) > MOST_NAMES or not any(
        not f.table_oid and not _reads_nothing(outputs, position)
        for position, f in enumerate(fields)
    ):
        tables = ()
    for name in tables:
        oids.update(catalog.named.get(name, ()))
    missing = Missing(
        frozenset(oid for oid in oids if catalog.relations.get(oid) is None),
        frozenset(
            f.type_oid
            for f in fields
            if f.type_oid >= FIRST_OWN_OID and f.type_oid not in catalog.shapes
        ),
        catalog.token,
        frozenset(name for name in tables if name not in catalog.named),
    )
    if not last and (missing.oids or missing.types or missing.names):
        return missing
    computed = _computed(catalog, sources, dirty)
    columns: list[Column] = []
    for position, f in enumerate(fields):
        origins: Origins = None
        exact = True
        if f.table_oid:
            if not dirty:
                origins = catalog.relations.origins(f.table_oid, f.attnum)
            exact = f.attnum != 0
        elif _reads_nothing(outputs, position):
            origins = ()
        else:
            origins, exact = computed, computed is None
        columns.append(Column(f.name, _type_name(catalog, f.type_oid), origins, exact))
    found = tuple(columns)
    if not (missing.oids or missing.types or missing.names):
        if len(catalog.resolved) >= _MOST_RESOLVED:
            catalog.resolved.clear()
        catalog.resolved[key] = found
    return found


def _reads_nothing(outputs: Sequence[Output] | None, position: int) -> bool:
    return outputs is not None and outputs[position].kind in _READS_NOTHING


def _computed(catalog: _Catalog, sources: Sources | None, dirty: bool) -> Origins:
    """All columns that a computed value may come from."""
    if sources is None or (dirty and sources.tables) or len(sources.tables) > MOST_NAMES:
        return None
    read = {name.rpartition(".")[2] for name in sources.columns}
    names: dict[str, None] = {}
    for table in sources.tables:
        oids = catalog.named.get(table)
        if not oids:
            return None
        for oid in oids:
            behind = catalog.relations.behind(oid, read)
            if behind is None:
                return None
            names.update(dict.fromkeys(behind))
    return tuple(names)


def learn(memory: dict[object, object], result: object) -> None:
    """Merge the ``result`` of a ``CatalogErrand`` into ``memory``. None (the
    errand failed) and what was asked before the last ``forget`` are ignored.
    ``TypeError`` for anything else."""
    if result is None:
        return
    if not isinstance(result, Snapshot):
        raise TypeError("not the result of a catalog errand")
    catalog = _catalog(memory)
    if result.token is not catalog.token:
        return
    if len(catalog.relations) > _MOST or len(catalog.shapes) > _MOST:
        catalog.relations = Relations(trace_view, sources_of_view)
        catalog.named.clear()
        catalog.names.clear()
        catalog.shapes.clear()
    catalog.resolved.clear()
    catalog.relations.merge(result.relations)
    if len(catalog.named) > _MOST:
        catalog.named.clear()
    catalog.named.update(result.names)
    for oid, (name, shape) in result.types.items():
        catalog.names[oid] = name
        catalog.shapes[oid] = shape


def forget(memory: dict[object, object]) -> None:
    """Drop all that is known: DDL passed. An errand that is under way brings
    home what may be stale; it will be ignored."""
    memory.pop(_KEY, None)
    memory.pop(FUNCTIONS, None)
    memory.pop(TOKEN, None)


def state(memory: dict[object, object]) -> object:
    """Another object once anything may have been forgotten: what was found out
    under one state is not to be relied on under another."""
    return _catalog(memory).token


def basis(memory: dict[object, object]) -> tuple[str, object]:
    """Where in ``memory`` the catalog is, and what is there: another object, or None,
    whenever ``state`` is another."""
    return _KEY, memory.get(_KEY)


def shapes(memory: dict[object, object]) -> Mapping[int, Shape]:
    """The types beyond the built-in ones that have been learnt."""
    return _catalog(memory).shapes


def generated(memory: dict[object, object], table_oid: int, attnum: int) -> bool | None:
    """Is that column generated? None when it is not known."""
    relation: Relation | None = _catalog(memory).relations.get(table_oid)
    if relation is None or attnum not in relation.columns:
        return None
    return attnum in relation.generated


def _type_name(catalog: _Catalog, oid: int) -> str:
    if oid in BUILTIN:
        return BUILTIN[oid][0]
    return catalog.names.get(oid, f"oid {oid}")
