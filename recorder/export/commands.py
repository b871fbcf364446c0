"""Commands as flat rows, for analysis: one row per command, with its session's facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recorder.catalog import describe
from recorder.reader import Recording, decoded
from recorder.records import CommandEntry, Event
from recorder.render import jsonable
from recorder.timeline import verdict_name


def rows(recording: Recording) -> Iterator[dict[str, Any]]:
    """The commands of ``recording`` in order; the columns are those of
    ``recorder.export.parquet``. Times are Unix microseconds. FormatError where it breaks,
    after all that is before."""
    header = recording.header
    about = describe(recording)
    wall = int(header["wall"])
    fixed: dict[str, Any] = {
        "session": about.session,
        "started": _int64(wall // 1000),
        "status": about.status,
        "principal": about.principal,
        "issuer": about.issuer,
        "kind": about.kind,
        "groups": about.groups,
        "run": about.run,
        "tags": sorted(about.tags.items()),
        "target": about.target,
        "protocol": about.protocol,
        "database": about.database,
        "peer": about.peer,
    }
    fixed = {name: jsonable(value) for name, value in fixed.items()}
    for record in decoded(recording):
        for entry in record.entries:
            if isinstance(entry, Event):
                # Of a session without a regular end only these say who it was.
                if entry.kind == "identity":
                    _identity(fixed, entry)
                elif entry.kind == "destination":
                    for name in ("target", "database"):
                        fixed[name] = fixed[name] or jsonable(str(entry.fields.get(name, "")))
            elif isinstance(entry, CommandEntry):
                yield {
                    **fixed,
                    "seq": _int64(record.seq),
                    "number": _int64(entry.number),
                    "at": _int64((wall + record.at) // 1000),
                    "seconds": record.at / 1e9,
                    "phase": jsonable(entry.phase),
                    "verdict": verdict_name(entry.verdict),
                    "rules": jsonable(entry.rules),
                    "reason": jsonable(entry.reason),
                    "policy": jsonable(entry.policy),
                    "text": jsonable(entry.text),
                    "length": _int64(entry.cut or len(entry.text)),
                    "digest": jsonable(entry.digest),
                    "parameters": jsonable(entry.parameters),
                    "masks": jsonable(entry.masks),
                    "shadow": jsonable(entry.shadow),
                }


def _identity(fixed: dict[str, Any], event: Event) -> None:
    told = event.fields
    for name, word in (("principal", "subject"), ("issuer", "issuer"), ("kind", "kind"),
                       ("run", "run")):  # fmt: skip
        fixed[name] = jsonable(str(told.get(word) or fixed[name]))
    groups, tags = told.get("groups"), told.get("tags")
    if isinstance(groups, list):
        fixed["groups"] = [jsonable(str(name)) for name in groups]
    if isinstance(tags, dict):
        fixed["tags"] = sorted((jsonable(str(k)), jsonable(str(v))) for k, v in tags.items())


def _int64(number: int) -> int:
    """What a hostile recording says may be more than a column holds."""
    return min(number, (1 << 63) - 1)
