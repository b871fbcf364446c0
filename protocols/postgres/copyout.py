"""Masks what COPY ... TO STDOUT sends."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.contract import Plan, Talk
from protocols.postgres.fields import Field


class CopyMasker:
    """Masks the payloads of CopyData, in text, csv or binary format.

    ``shape`` is ``protocols.sql``'s account of the COPY (its format and
    options); ``fields`` from ``columns_errand`` and ``copied``.
    """

    def __init__(
        self,
        shape: object,
        fields: Sequence[Field],
        plan: Plan,
        memory: dict[object, object] | None = None,
        *,
        limit: int = 1 << 26,
    ) -> None:
        self.masked: list[int] = [0] * len(fields)
        raise NotImplementedError

    def feed(self, payload: bytes) -> bytes:
        """What to send on for ``payload`` (may be empty: a row is not whole)."""
        raise NotImplementedError

    def end(self) -> bytes:
        """CopyDone came: what is left. A broken end is a ``WireError``."""
        raise NotImplementedError


def columns_query(shape: object) -> str:
    """The SELECT whose RowDescription describes what ``shape`` copies."""
    raise NotImplementedError


def columns_errand(shape: object) -> Talk:
    """Parses and describes ``columns_query(shape)`` upstream, never runs it;
    its ``result`` is a ``tuple[Field, ...]``."""
    raise NotImplementedError


def copied(
    memory: dict[object, object], shape: object, fields: Sequence[Field]
) -> tuple[Field, ...]:
    """``fields`` without the generated columns that ``COPY t TO`` leaves out.
    Call it after the catalog has been learnt for ``fields``."""
    raise NotImplementedError
