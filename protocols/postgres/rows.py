"""Masks the rows of a result."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.contract import Plan
from protocols.postgres.fields import Field


class RowMasker:
    """Masks runs of DataRow frames after ``plan``.

    ``memory`` is the target's (``Destined.memory``): types that ``catalog``
    has learnt. ``masked`` counts the values changed, per column.
    """

    def __init__(
        self, fields: Sequence[Field], plan: Plan, memory: dict[object, object] | None = None
    ) -> None:
        self.masked: list[int] = [0] * len(fields)
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """True when no row can change: frames may pass without a look."""
        raise NotImplementedError

    def rows(self, buffer: bytes | memoryview) -> bytes:
        """``buffer`` (whole ``D`` frames, one after another) masked."""
        raise NotImplementedError
