"""A recording's entries as what happened, one line or object each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.wire import Mark, Move
from recorder.catalog import VERDICT_NAMES
from recorder.reader import Record
from recorder.records import SEALED, CommandEntry, Entry, Event, StoredSpan
from recorder.render import one_line, safe

_MOVES = {Move.PASS: "pass", Move.TAKE: "take", Move.SEND: "send", Move.FORWARD: "forward"}


def verdict_name(number: int) -> str:
    """``allow``, ``mask``, ``hold`` or ``block``."""
    return VERDICT_NAMES[number] if 0 <= number < len(VERDICT_NAMES) else f"verdict {number}"


def as_object(record: Record, entry: Entry) -> dict[str, Any]:
    """An entry for JSON."""
    return {"seq": record.seq, "at": record.at / 1e9, **entry_fields(entry)}


def entry_fields(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, without its place."""
    if isinstance(entry, CommandEntry):
        fields = entry._asdict()
        fields["verdict"] = verdict_name(entry.verdict)
        return {"event": "command", **fields}
    if isinstance(entry, Event):
        return {"event": entry.kind, "fields": dict(entry.fields)}
    return {
        "event": "bytes",
        "move": _MOVES[entry.move],
        "side": entry.side.name.lower(),
        "mark": entry.mark.name.lower(),
        "arrival": entry.arrival if entry.arrival >= 0 else None,
        "departure": entry.departure if entry.departure >= 0 else None,
        "length": entry.length,
        "stored": entry.raw is not None or entry.move is Move.FORWARD,
    }


def objects(record: Record, with_bytes: bool) -> Iterator[dict[str, Any]]:
    """All of a record's entries for JSON."""
    if record.gap:
        at = record.at / 1e9
        yield {"seq": record.seq, "at": at, "event": "gap", "missing_records": record.gap}
    for entry in record.entries:
        if with_bytes or not isinstance(entry, StoredSpan):
            yield as_object(record, entry)


def command_line(entry: CommandEntry) -> str:
    """``BLOCK  delete from t  (no-where: needs WHERE)``."""
    why = ", ".join(entry.rules)
    if entry.reason:
        why = f"{why}: {entry.reason}" if why else entry.reason
    told = f"{verdict_name(entry.verdict):5}  {one_line(entry.text)}"
    if entry.cut:
        told += f" … ({entry.cut} characters)"
    if entry.phase != "run":
        told += f"  [{safe(entry.phase)}]"
    if entry.parameters is not None:
        shown = ", ".join("NULL" if p is None else repr(one_line(p, 60)) for p in entry.parameters)
        told += f"  [{shown}]"
    if entry.masks:
        told += f"  masks {safe(', '.join(entry.masks))}"
    if entry.shadow:
        told += f"  shadow {safe(', '.join(entry.shadow))}"
    return told + (f"  ({one_line(why)})" if why else "")


def first_line(entry: CommandEntry) -> CommandEntry:
    """``entry`` with the first line of its text: the others of a push are for its
    approvers, and ``recorder events`` has them."""
    first, more, _ = entry.text.partition("\n")
    return entry._replace(text=first, cut=0) if more else entry


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={_flat(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def line(entry: Entry) -> str:
    """An entry for people, safe for a terminal."""
    if isinstance(entry, CommandEntry):
        return f"command  {command_line(entry)}"
    if isinstance(entry, Event):
        shown = " ".join(f"{k}={_flat(v)}" for k, v in entry.fields.items() if v not in ("", None))
        return f"{one_line(entry.kind)}  {one_line(shown)}"
    told = f"bytes  {_MOVES[entry.move]} {entry.side.name.lower()} {entry.length}"
    if entry.mark is not Mark.PLAIN:
        told += f" {entry.mark.name.lower()}"
    if entry.raw is None and entry.move is not Move.FORWARD:
        told += " (sealed)" if entry.kept == SEALED else " (not stored)"
    return told
