"""Functions that could be called where PostgreSQL's own are meant.

A bare ``lower(x)`` is ``pg_catalog.lower`` only while no overload on the search
path fits its arguments better, and ``u.name`` is a column only where it is no
function of a row.  Which such functions there are, a side connection asks once;
the answer is kept with what is known of the target's catalog, and forgotten with
it.  Errs to doubt: by name only, and everything while that isn't known.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from protocols.contract import Destined, Opening
from protocols.errors import WireError
from protocols.postgres.errands import UpstreamErrand
from protocols.postgres.messages import frame
from protocols.wire import Side

KEY: Final = "postgres functions"
"""Where ``Destined.memory`` keeps them; ``catalog.forget`` drops it."""
TOKEN: Final = "postgres functions as of"
"""Dropped with it: what was asked before is stale."""
MOST: Final = 100_000
"""Names; with more the errand fails."""

# A function of the system with the very same arguments wins over one behind it
# on the path, and pg_catalog is first unless the path says otherwise.
_QUESTION: Final = """
BEGIN READ ONLY; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s';
SET LOCAL client_encoding = 'UTF8';
SELECT pg_catalog.json_build_array(p.proname::pg_catalog.text,
  p.pronamespace OPERATOR(pg_catalog.=) ANY (
    SELECT n.oid FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false)))
  AND (pg_catalog.current_schemas(true))[1] OPERATOR(pg_catalog.=) 'pg_catalog'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS same
    WHERE same.proname OPERATOR(pg_catalog.=) p.proname
    AND same.pronamespace OPERATOR(pg_catalog.=) 11
    AND same.proargtypes OPERATOR(pg_catalog.=) p.proargtypes))
FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace OPERATOR(pg_catalog.<>) 11 AND p.oid OPERATOR(pg_catalog.>=) 16384
AND (EXISTS (SELECT FROM pg_catalog.pg_proc AS own
    WHERE own.proname OPERATOR(pg_catalog.=) p.proname
    AND own.pronamespace OPERATOR(pg_catalog.=) 11)
  OR EXISTS (SELECT FROM pg_catalog.pg_type AS t
    WHERE t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
    AND t.typtype OPERATOR(pg_catalog.=) ANY ('{c,p}'::pg_catalog."char"[])));
COMMIT
"""


class Shadows(NamedTuple):
    """Names of functions outside of pg_catalog. ``near``: those that a new
    session would find; ``anywhere``: in all schemas. None: not known."""

    near: frozenset[str] | None
    anywhere: frozenset[str] | None


UNKNOWN: Final = Shadows(None, None)


def known(memory: dict[object, object]) -> Shadows | None:
    """What was learnt, None when it must be asked for."""
    found = memory.get(KEY)
    return found if isinstance(found, Shadows) else None


class ShadowsErrand(UpstreamErrand):
    """Asks for them; ``result`` is ``Shadows``."""

    def __init__(self, opening: Opening, destined: Destined) -> None:
        self._asked = False
        self._near: set[str] = set()
        self._anywhere: set[str] = set()
        super().__init__(opening, destined)

    def ready(self, status: bytes) -> bytes:
        if not self._asked:
            self._asked = True
            return frame(b"Q", _QUESTION.encode() + b"\0")
        if status != b"I":
            self.fail("the upstream did not end the catalog's transaction")
            return b""
        self.finish(Shadows(frozenset(self._near), frozenset(self._anywhere)))
        return b""

    def message(self, kind: bytes, payload: bytes) -> bytes:
        if kind != b"D":
            return super().message(kind, payload)
        try:
            if payload[:2] != b"\0\1" or len(self._anywhere) >= MOST:
                raise ValueError
            name, near = json.loads(payload[6:].decode("utf-8", "surrogateescape"))
            if not isinstance(name, str):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            raise WireError(
                Side.UPSTREAM, "an answer about functions is not what was asked", "08P01"
            ) from None
        self._anywhere.add(name)
        if near:
            self._near.add(name)
        return b""
