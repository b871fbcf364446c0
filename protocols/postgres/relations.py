"""What is known of a server's relations, and the origins of their columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from protocols.postgres.kinds import FIRST_OWN_OID
from protocols.sql.sources import Sources

Origins: TypeAlias = "tuple[str, ...] | None"

WHOLE: Final = 2
"""All is known: name, columns, parents, children, what a view reads."""
CHILD: Final = 1
"""Known as a child of another: its columns are not (they include the parent's)."""
PARENT: Final = 0
"""Known as a parent of another: its children are not."""

DEPTH: Final = 16
"""Views upon views that are traced. Deeper ones count as unknown."""
FAMILY: Final = 4096
"""Names that one column may go by (partitions). More count as unknown."""

_SYSTEM_SCHEMAS: Final = ("pg_catalog", "information_schema")
_SYSTEM_COLUMNS: Final = MappingProxyType(
    {-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"}
)

_QUOTING: Final = frozenset(
    {
        "pg_attribute.attmissingval",
        "pg_authid.rolpassword",
        "pg_cursors.statement",
        "pg_foreign_server.srvoptions",
        "pg_largeobject.data",
        "pg_prepared_statements.statement",
        "pg_shadow.passwd",
        "pg_stat_activity.query",
        "pg_stats.histogram_bounds",
        "pg_stats.most_common_elems",
        "pg_stats.most_common_vals",
        "pg_stats_ext.most_common_vals",
        "pg_stats_ext_exprs.histogram_bounds",
        "pg_stats_ext_exprs.most_common_elems",
        "pg_stats_ext_exprs.most_common_vals",
        "pg_statistic.stavalues1",
        "pg_statistic.stavalues2",
        "pg_statistic.stavalues3",
        "pg_statistic.stavalues4",
        "pg_statistic.stavalues5",
        "pg_statistic_ext_data.stxdexpr",
        "pg_statistic_ext_data.stxdmcv",
        "pg_subscription.subconninfo",
        "pg_user_mapping.umoptions",
        "pg_user_mappings.umoptions",
        "user_mapping_options.option_value",
    }
)
"""Columns of the system's own relations that may quote users' data or a
password: their origin is unknown, whatever they are called."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A row of pg_class as of one moment.

    ``kind`` is ``relkind``; ``columns`` maps attribute numbers to names;
    ``generated`` are the attributes that are computed from others;
    ``definition`` is the SELECT of a view or materialized view, printed with
    only pg_catalog on the search path. ``extent`` is WHOLE, CHILD or PARENT.
    """

    oid: int
    schema: str
    name: str
    kind: str
    extent: int
    parents: tuple[int, ...] = ()
    children: tuple[int, ...] = ()
    columns: Mapping[int, str] = field(default_factory=dict)
    generated: frozenset[int] = frozenset()
    definition: str | None = None

    def column(self, name: str) -> str:
        return f"{self.schema}.{self.name}.{name}"

    @property
    def system(self) -> bool:
        return self.oid < FIRST_OWN_OID

    @property
    def traced(self) -> bool:
        """Is it a view of a user's? The system's views count as tables."""
        return self.kind in ("v", "m") and not self.system


Reads: TypeAlias = "Callable[[str], Sources | None]"
"""``protocols.sql.sources.sources_of_view``: what a view's SELECT reads."""
Trace: TypeAlias = Callable[[str, Sequence[str]], "Sequence[Sequence[tuple[str, str, str]] | None]"]
"""``protocols.sql.trace_view``: given a view's SELECT and the names of its
columns, what each reads, as (schema, relation, column); None is unknown."""


class Relations:
    """A set of relations and the origins of their columns, computed once."""

    __slots__ = ("_by_name", "_by_oid", "_origins", "_reads", "_trace", "_traces")

    def __init__(self, trace: Trace, reads: Reads | None = None) -> None:
        self._trace = trace
        self._reads: Reads = reads or (lambda _: None)
        self._by_oid: dict[int, Relation] = {}
        self._by_name: dict[tuple[str, str], int] = {}
        self._origins: dict[tuple[int, int], Origins] = {}
        self._traces: dict[int, Sequence[Sequence[tuple[str, str, str]] | None]] = {}

    def __len__(self) -> int:
        return len(self._by_oid)

    def get(self, oid: int) -> Relation | None:
        """The relation if it is known whole."""
        relation = self._by_oid.get(oid)
        return relation if relation is not None and relation.extent == WHOLE else None

    def merge(self, relations: Iterable[Relation]) -> None:
        """Add what was learnt. What is new wins over what was known, unless
        that knew more of the relation."""
        for new in relations:
            old = self._by_oid.get(new.oid)
            if old is None or new.extent >= old.extent:
                self._by_oid[new.oid] = new
                self._by_name[new.schema, new.name] = new.oid
        self._origins.clear()
        self._traces.clear()

    def origins(self, oid: int, attnum: int) -> Origins:
        """The names that the column goes by; None when unknown. Attribute 0
        is the whole row."""
        key = (oid, attnum)
        if key not in self._origins:
            self._origins[key] = self._find(oid, attnum, 0)
        return self._origins[key]

    def behind(self, oid: int, read: Collection[str]) -> Origins:
        """The names of all columns that an expression over the relation may
        come from: its own, and for a view those of all relations that it
        reads, whichever of them its columns show. Of a relation of the
        system's only those that ``read`` (last segments; ``*`` is all) has."""
        return self._behind(oid, read, 0)

    def _behind(self, oid: int, read: Collection[str], depth: int) -> Origins:
        relation = self.get(oid)
        if relation is None or depth > DEPTH or relation.schema.startswith("pg_temp_"):
            return None
        columns: Iterable[str] = relation.columns.values()
        if relation.system:
            columns = [name for name in columns if name in read or "*" in read]
            if any(f"{relation.name}.{name}" in _QUOTING for name in columns):
                return None
            return tuple(relation.column(name) for name in columns)
        if not relation.traced:
            return _union(self._names(relation, name) for name in columns)
        inner = self._reads(relation.definition or "")
        if inner is None or inner.settings:
            return None
        parts: list[Origins] = [tuple(relation.column(name) for name in columns)]
        segments = {name.rpartition(".")[2] for name in inner.columns}
        parts.extend(self._behind_named(name, segments, depth + 1) for name in inner.tables)
        return _union(parts)

    def _behind_named(self, name: str, read: Collection[str], depth: int) -> Origins:
        """A relation as a view's text names it: with its schema, or in
        pg_catalog. A dot may also be part of a name."""
        places = [at for at, sign in enumerate(name) if sign == "."]
        pairs = [(name[:at], name[at + 1 :]) for at in places] or [("pg_catalog", name)]
        found = [oid for pair in pairs if (oid := self._by_name.get(pair)) is not None]
        if found:
            return _union(self._behind(oid, read, depth) for oid in found)
        schema, relation = pairs[0]
        if schema not in _SYSTEM_SCHEMAS:
            return None
        # Dependencies on some of the system's own relations are not on record.
        if any(quoting.partition(".")[0] == relation for quoting in _QUOTING):
            return None
        return tuple(f"{schema}.{relation}.{column}" for column in sorted(read))

    def _find(self, oid: int, attnum: int, depth: int) -> Origins:
        relation = self.get(oid)
        if relation is None or depth > DEPTH:
            return None
        if attnum == 0:
            return _union(self._find(oid, each, depth) for each in relation.columns)
        name = relation.columns.get(attnum) or _SYSTEM_COLUMNS.get(attnum)
        if name is None:
            return None
        if relation.traced:
            return self._through(relation, attnum, name, depth)
        if relation.system and f"{relation.name}.{name}" in _QUOTING:
            return None
        if relation.schema.startswith("pg_temp_"):
            # A session put there what it had read elsewhere, as an expression
            # would: nobody can tell from where.
            return None
        return self._names(relation, name)

    def _through(self, view: Relation, attnum: int, name: str, depth: int) -> Origins:
        """A view's column: its own name (rules may name views), and those of
        all that it reads."""
        if view.oid not in self._traces:
            names = tuple(view.columns[number] for number in sorted(view.columns))
            self._traces[view.oid] = self._trace(view.definition or "", names)
        outputs = self._traces[view.oid]
        # A view's attributes are numbered as its outputs are, without gaps:
        # columns of a view can be added and renamed, but never dropped.
        reads = outputs[attnum - 1] if 1 <= attnum <= len(outputs) else None
        if reads is None or len(outputs) != len(view.columns):
            return None
        found = _union(self._named(*read, depth + 1) for read in reads)
        return None if found is None else _union(((view.column(name),), found))

    def _named(self, schema: str, relation: str, column: str, depth: int) -> Origins:
        oid = self._by_name.get((schema or "pg_catalog", relation))
        known = self.get(oid) if oid is not None else None
        if known is None:
            # Dependencies on the system's own relations are not on record.
            if (schema or "pg_catalog") in _SYSTEM_SCHEMAS:
                if f"{relation}.{column}" in _QUOTING or column in ("", "*"):
                    return None
                return (f"{schema or 'pg_catalog'}.{relation}.{column}",)
            return None
        if column in ("", "*"):
            return self._find(known.oid, 0, depth)
        for attnum, name in (*known.columns.items(), *_SYSTEM_COLUMNS.items()):
            if name == column:
                return self._find(known.oid, attnum, depth)
        return None

    def _names(self, relation: Relation, column: str) -> Origins:
        """The column's name in the relation, in all its descendants (whose
        rows it shows), and in all ancestors of any of these (whose rules are
        about the same rows)."""
        names: dict[str, None] = {}
        down: list[int] = [relation.oid]
        up: list[int] = []
        seen: set[tuple[int, bool]] = set()
        while down or up:
            going_down = bool(down)
            oid = (down or up).pop()
            if (oid, going_down) in seen:
                continue
            seen.add((oid, going_down))
            known = self._by_oid.get(oid)
            if known is None or len(seen) > FAMILY:
                return None
            if going_down:
                if known.extent == PARENT:
                    return None
                down.extend(known.children)
                names[known.column(column)] = None
            elif known.extent == CHILD or column in known.columns.values():
                names[known.column(column)] = None
            up.extend(known.parents)
        return tuple(names)


def _union(parts: Iterable[Origins]) -> Origins:
    names: dict[str, None] = {}
    for part in parts:
        if part is None:
            return None
        names.update(dict.fromkeys(part))
    return tuple(names)
