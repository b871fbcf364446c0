"""Commands of many sessions as one Parquet file, for DuckDB, pandas, Spark and the like.

Needs pyarrow (``pip install 'wirewarden[parquet]'``). Row groups are written as they fill,
so memory is bounded by one of them, however many sessions there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, BinaryIO, Final

ROWS: Final = 10_000
"""Rows of a group, at most."""
CHARACTERS: Final = 32 << 20
"""Characters of text and parameters after which a group ends early."""
SCHEMA: Final = "wirewarden.commands/1"
"""What the file's metadata says under the key ``schema``."""


class NoParquetError(Exception):
    """pyarrow is not installed."""


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise NoParquetError("Parquet needs pyarrow: pip install 'wirewarden[parquet]'") from None
    return pyarrow


def schema() -> Any:
    """The columns, in order; ``recorder/SCHEMAS.md`` says what they mean."""
    pa = _arrow()
    text, texts = pa.string(), pa.list_(pa.string())
    common = pa.dictionary(pa.int32(), pa.string())
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            pa.field("session", common, nullable=False),
            pa.field("started", moment, nullable=False),
            pa.field("status", common, nullable=False),
            pa.field("principal", common, nullable=False),
            pa.field("issuer", common, nullable=False),
            pa.field("kind", common, nullable=False),
            pa.field("groups", texts, nullable=False),
            pa.field("run", common, nullable=False),
            pa.field("tags", pa.map_(pa.string(), pa.string()), nullable=False),
            pa.field("target", common, nullable=False),
            pa.field("protocol", common, nullable=False),
            pa.field("database", common, nullable=False),
            pa.field("peer", common, nullable=False),
            pa.field("seq", pa.int64(), nullable=False),
            pa.field("number", pa.int64(), nullable=False),
            pa.field("at", moment, nullable=False),
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("phase", common, nullable=False),
            pa.field("verdict", common, nullable=False),
            pa.field("rules", texts, nullable=False),
            pa.field("reason", text, nullable=False),
            pa.field("policy", common, nullable=False),
            pa.field("text", text, nullable=False),
            pa.field("length", pa.int64(), nullable=False),
            pa.field("digest", text),
            pa.field("parameters", texts),
            pa.field("masks", texts, nullable=False),
            pa.field("shadow", texts, nullable=False),
        ],
        metadata={"schema": SCHEMA},
    )


class Sheet:
    """A Parquet file on ``out`` that grows by ``add``. Leaving its context well finishes
    the file; without that it is none. Raises NoParquetError."""

    def __init__(self, out: BinaryIO) -> None:
        pa = _arrow()
        self._pa = pa
        self._schema = schema()
        self._sink = pa.PythonFile(out, mode="w")
        self._writer = pa.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._columns: list[tuple[str, list[Any]]] = [(name, []) for name in self._schema.names]
        self._held = self._size = 0
        self.count = 0
        """Rows, in all."""

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows of ``recorder.export.commands``; raises what taking them raises, and keeps
        those that came before."""
        for row in rows:
            for name, values in self._columns:
                values.append(row[name])
            self._held += 1
            self.count += 1
            self._size += len(row["text"]) + sum(len(p or "") for p in row["parameters"] or ())
            if self._held >= ROWS or self._size >= CHARACTERS:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            made = [
                self._pa.array(values, type=self._schema.field(name).type)
                for name, values in self._columns
            ]
            batch = self._pa.RecordBatch.from_arrays(made, schema=self._schema)
            self._writer.write_batch(batch, row_group_size=ROWS)
        for _, values in self._columns:
            values.clear()
        self._held = self._size = 0

    def __enter__(self) -> Sheet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
            self._writer.close()
