"""A recording's entries as what happened, one line or object each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from protocols.wire import Mark, Move
from recorder.binary_values import FUNCTIONS, NAMES
from recorder.binary_values import shown as reading
from recorder.catalog import VERDICT_NAMES
from recorder.reader import Record
from recorder.records import SEALED, CommandEntry, Entry, Event, StoredSpan
from recorder.render import cell, one_line, safe, statement

_BINARY = re.compile(r"([0-9]{1,9}):((?:[0-9a-f]{2})*)")
_CALL = re.compile(r"function call oid ([0-9]{1,9})")
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
    told = f"{verdict_name(entry.verdict):5}  {statement(entry.text)}"
    if called := _CALL.fullmatch(entry.text):
        told += f" ({FUNCTIONS.get(int(called[1]), '?')})"
    if entry.cut:
        told += f" … ({entry.cut} characters)"
    if entry.phase != "run":
        told += f"  [{safe(entry.phase)}]"
    if entry.parameters is not None:
        told += f"  [{', '.join(map(parameter, entry.parameters))}]"
    if entry.masks:
        told += f"  masks {safe(', '.join(entry.masks))}"
    if entry.shadow:
        told += f"  shadow {safe(', '.join(entry.shadow))}"
    return told + (f"  ({one_line(why)})" if why else "")


def parameter(text: str | None) -> str:
    """A parameter for people. What came in binary is on record as ``type:hex``; its reading
    stands behind that, as the same could have come as text."""
    if text is None:
        return "NULL"
    told = "'" + cell(text, 60).replace("'", "''") + "'"
    found = _BINARY.fullmatch(text)
    if found is None:
        return told
    oid = int(found[1])
    value = reading(bytes.fromhex(found[2]), oid)
    return told if value is None else f"{told} ({NAMES.get(oid, oid)} {cell(value, 60)})"


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
        shown = " ".join(
            f"{k}={_flat(v)}" for k, v in entry.fields.items() if v not in ("", None, {}, [])
        )
        return f"{one_line(entry.kind)}  {one_line(shown)}"
    told = f"bytes  {_MOVES[entry.move]} {entry.side.name.lower()} {entry.length}"
    if entry.mark is not Mark.PLAIN:
        told += f" {entry.mark.name.lower()}"
    if entry.raw is None and entry.move is not Move.FORWARD:
        told += " (sealed)" if entry.kept == SEALED else " (not stored)"
    return told
