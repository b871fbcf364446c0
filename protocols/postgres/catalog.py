"""Where the columns of a result come from: the catalog, remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.contract import Column
from protocols.postgres.fields import Field


@dataclass(frozen=True, slots=True)
class Missing:
    """What ``resolve`` must know first: OIDs of relations, and of types.
    Run ``CatalogErrand(missing)``, ``learn`` its result, ask again with
    ``last=True``."""

    oids: frozenset[int]
    types: frozenset[int] = frozenset()


def resolve(
    memory: dict[object, object],
    fields: Sequence[Field],
    outputs: Sequence[object] | None = None,
    *,
    last: bool = False,
    dirty: bool = False,
) -> tuple[Column, ...] | Missing:
    """The columns of ``fields`` with their origins, or what to look up first.

    ``last`` True: what memory lacks is unknown (None), never ``Missing``.
    ``dirty`` True: the session's open transaction has run DDL which the side
    connection cannot see: every origin that a name stands for is unknown.
    """
    raise NotImplementedError


def learn(memory: dict[object, object], result: object) -> None:
    """Merge the ``result`` of a ``CatalogErrand`` into ``memory``."""
    raise NotImplementedError


def forget(memory: dict[object, object]) -> None:
    """Drop all that is known of relations (DDL passed, or it got old)."""
    raise NotImplementedError
