"""Between the catalog and ``protocols.sql``: what a view's columns read."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def trace(
    definition: str, columns: Callable[[str, str], Sequence[str] | None]
) -> Sequence[Sequence[tuple[str, str, str]] | None] | None:
    """What each output of the view ``definition`` reads, as (schema,
    relation, column); None for an output, or for all, that is not
    understood. ``columns`` gives a relation's column names in order."""
    return None
