"""The errand that asks the server's catalog about relations and types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from protocols.contract import Destined, Opening
from protocols.errors import WireError
from protocols.postgres.errands import UpstreamErrand
from protocols.postgres.kinds import BUILTIN, UNKNOWN, Kind, Shape
from protocols.postgres.messages import frame
from protocols.postgres.relations import Relation
from protocols.wire import Side

MOST_RELATIONS: Final = 20_000
MOST_TYPES: Final = 10_000
MOST_BYTES: Final = 1 << 25
"""Of all rows of one errand. Beyond any of the three it fails, which leaves
the columns unknown."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What ``resolve`` must know first: OIDs of relations, and of types, and
    relations by their names (as facts write them)."""

    oids: frozenset[int]
    types: frozenset[int] = frozenset()
    token: object = field(default=None, compare=False, repr=False)
    """Which state of memory this was asked of: what an errand brings home
    after ``forget`` is stale, and is dropped."""
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the errand found. ``types`` maps OIDs to (name, shape), ``names``
    each name that was asked for to the relations that it may mean."""

    relations: tuple[Relation, ...]
    types: dict[int, tuple[str, Shape]]
    token: object = field(default=None, compare=False, repr=False)
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)


MOST_NAMES: Final = 200
"""Relations that are looked up by name for one statement."""
_SEGMENTS: Final = 5

# Names mean what they mean to a new session: this comes before the search path
# is changed, and calls nothing that could be shadowed.
_NAME: Final = (
    "SELECT pg_catalog.json_build_array('name', {number},"
    " pg_catalog.to_regclass({literal})::pg_catalog.oid::pg_catalog.int8);"
)

# One round trip. With only pg_catalog on the path no object of a user's can
# stand in for the catalog's, and pg_get_viewdef prints users' names qualified.
# The timeouts are for pg_get_viewdef, which waits for locks: those that the
# client's own session holds would never go while it waits for us.
_BEGIN: Final = (
    "BEGIN READ ONLY; SET LOCAL lock_timeout = '2s';"
    " SET LOCAL statement_timeout = '10s'; SET LOCAL client_encoding = 'UTF8'; "
)
_PATH: Final = "SET LOCAL search_path = pg_catalog, pg_temp; "

# extent: 2 whole, 1 as a child, 0 as a parent (relations.py).
_RELATIONS: Final = """
WITH RECURSIVE need(oid, extent) AS (
  SELECT u.oid, 2 FROM unnest(ARRAY[{oids}]::oid[]) AS u(oid)
  UNION
  SELECT e.oid, e.extent FROM need AS n CROSS JOIN LATERAL (
    SELECT i.inhrelid, 1 FROM pg_inherits AS i WHERE i.inhparent = n.oid AND n.extent >= 1
    UNION ALL
    SELECT i.inhparent, 0 FROM pg_inherits AS i WHERE i.inhrelid = n.oid
    UNION ALL
    SELECT d.refobjid, 2 FROM pg_rewrite AS r JOIN pg_depend AS d
      ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_class'::regclass
      WHERE r.ev_class = n.oid AND r.ev_type = '1' AND n.extent = 2
  ) AS e(oid, extent)
)
SELECT json_build_array('relation', c.oid::bigint, s.nspname::text, c.relname::text,
  c.relkind::text, k.extent,
  (SELECT json_agg(i.inhparent::bigint) FROM pg_inherits AS i WHERE i.inhrelid = c.oid),
  (SELECT json_agg(i.inhrelid::bigint) FROM pg_inherits AS i
    WHERE i.inhparent = c.oid AND k.extent >= 1),
  (SELECT json_agg(json_build_array(a.attnum, a.attname::text, a.attgenerated <> ''))
    FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND k.extent <> 1),
  CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= 16384 AND k.extent = 2
    THEN pg_get_viewdef(c.oid) END)
FROM (SELECT l.oid, max(l.extent) AS extent FROM (SELECT * FROM need LIMIT {most}) AS l
  GROUP BY l.oid) AS k
JOIN pg_class AS c ON c.oid = k.oid JOIN pg_namespace AS s ON s.oid = c.relnamespace;
"""

_TYPES: Final = """
WITH RECURSIVE need(oid) AS (
  SELECT u.oid FROM unnest(ARRAY[{oids}]::oid[]) AS u(oid)
  UNION
  SELECT e.oid FROM need AS n JOIN pg_type AS t ON t.oid = n.oid
  CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) AS e(oid)
  WHERE e.oid <> 0
)
SELECT json_build_array('type', t.oid::bigint, t.typname::text, t.typtype::text,
  t.typcategory::text, t.typelem::bigint, t.typbasetype::bigint)
FROM (SELECT * FROM need LIMIT {most}) AS k JOIN pg_type AS t ON t.oid = k.oid;
"""


def question(missing: Missing) -> str:
    """The text of the one simple query that answers ``missing``."""

    def oids(of: frozenset[int]) -> str:
        return ",".join(str(int(oid)) for oid in sorted(of))

    parts = [] if missing.names else [_BEGIN]
    parts.append(_PATH)
    if missing.oids:
        parts.append(_RELATIONS.format(oids=oids(missing.oids), most=2 * MOST_RELATIONS))
    if missing.types:
        parts.append(_TYPES.format(oids=oids(missing.types), most=MOST_TYPES))
    parts.append("COMMIT")
    return "".join(parts)


def readings(name: str) -> list[str]:
    """What ``name`` may be in SQL: a schema and a relation, or a relation whose
    own name has dots. [] when it is no name."""
    segments = name.split(".")
    if not all(segments) or len(segments) > _SEGMENTS:
        return []

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    pairs = [
        f"{quoted('.'.join(segments[:at]))}.{quoted('.'.join(segments[at:]))}"
        for at in range(1, len(segments))
    ]
    return [*pairs, quoted(name)]


def by_name(names: Sequence[str]) -> str:
    """The text of the simple query that asks what ``names`` are."""
    parts = [_BEGIN]
    for number, name in enumerate(names):
        for reading in readings(name):
            literal = "'" + reading.replace("'", "''") + "'"
            parts.append(_NAME.format(number=number, literal=literal))
    return "".join(parts)


class CatalogErrand(UpstreamErrand):
    """Looks ``missing`` up, with all that views read and all that inherits;
    ``result`` is a ``Snapshot``. What does not exist is not in it."""

    def __init__(self, opening: Opening, destined: Destined, missing: Missing) -> None:
        self._missing = missing
        self._names = sorted(missing.names)[:MOST_NAMES]
        self._named: dict[str, tuple[int, ...]] = dict.fromkeys(self._names, ())
        self._naming = bool(self._names)
        self._asked = False
        self._bytes = 0
        self._relations: list[Relation] = []
        self._types: dict[int, tuple[str, str, str, int, int]] = {}
        super().__init__(opening, destined)

    def ready(self, status: bytes) -> bytes:
        if self._naming:
            self._naming = False
            return frame(b"Q", by_name(self._names).encode("utf-8", "surrogateescape") + b"\0")
        if not self._asked:
            self._asked = True
            oids = {oid for found in self._named.values() for oid in found}
            missing = replace(self._missing, oids=self._missing.oids | oids)
            return frame(b"Q", question(missing).encode() + b"\0")
        if status != b"I":
            self.fail("the upstream did not end the catalog's transaction")
            return b""
        token = self._missing.token
        self.finish(Snapshot(tuple(self._relations), _shapes(self._types), token, self._named))
        return b""

    def message(self, kind: bytes, payload: bytes) -> bytes:
        if kind == b"D":
            self._bytes += len(payload)
            if self._bytes > MOST_BYTES or len(self._relations) >= MOST_RELATIONS:
                self.fail("the catalog of these relations is too large")
                return b""
            self._row(payload)
            return b""
        return super().message(kind, payload)

    def _row(self, payload: bytes) -> None:
        if payload[:2] != b"\0\1" or payload[2:6] != (len(payload) - 6).to_bytes(4, "big"):
            raise _lie()
        try:
            row = json.loads(payload[6:].decode("utf-8", "surrogateescape"))
            if row[0] == "relation":
                self._relations.append(_relation(row))
            elif row[0] == "name":
                _, number, found = row
                if found is not None:
                    name = self._names[_number(number)]
                    self._named[name] = (*self._named[name], _number(found))
            else:
                _, oid, name, typtype, category, element, base = row
                self._types[_number(oid)] = (
                    _text(name),
                    _text(typtype),
                    _text(category),
                    _number(element),
                    _number(base),
                )
        except (ValueError, TypeError, IndexError, KeyError, RecursionError):
            raise _lie() from None


def _relation(row: list[object]) -> Relation:
    _, oid, schema, name, kind, extent, parents, children, columns, definition = row
    attributes = [(_number(a), _text(b), bool(c)) for a, b, c in _list(columns)]
    return Relation(
        oid=_number(oid),
        schema=_text(schema),
        name=_text(name),
        kind=_text(kind),
        extent=_number(extent),
        parents=tuple(_number(parent) for parent in _list(parents)),
        children=tuple(_number(child) for child in _list(children)),
        columns={number: text for number, text, _ in attributes},
        generated=frozenset(number for number, _, generated in attributes if generated),
        definition=None if definition is None else _text(definition),
    )


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _list(value: object) -> list[list[object]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError
    return value


def _lie() -> WireError:
    return WireError(Side.UPSTREAM, "an answer about the catalog is not what was asked", "08P01")


def _shapes(
    rows: dict[int, tuple[str, str, str, int, int]],
) -> dict[int, tuple[str, Shape]]:
    def shape(oid: int, depth: int) -> Shape:
        if oid in BUILTIN:
            return BUILTIN[oid][1]
        row = rows.get(oid)
        if row is None or depth > 8:
            return UNKNOWN
        name, typtype, category, element, base = row
        if typtype == "d":
            return shape(base, depth + 1)
        if typtype == "b" and category == "A" and element:
            inner = shape(element, depth + 1)
            return UNKNOWN if inner.element else Shape(inner.kind, element)
        if typtype == "b" and category == "S":
            # The server prefers category S to hold text; only of citext is it
            # known that the binary form is the text.
            return Shape(Kind.TEXT if name == "citext" else Kind.LABEL)
        return UNKNOWN

    return {oid: (row[0], shape(oid, 0)) for oid, row in rows.items()}
