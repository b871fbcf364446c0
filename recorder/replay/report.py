"""What a replay found, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from recorder.render import one_line
from recorder.replay.compare import Difference


class Status(str, Enum):
    """How a message compares."""

    EQUAL = "equal"
    NORMALISED = "normalised"
    DIFFERS = "differs"
    MISSING = "missing"
    EXTRA = "extra"
    TIMEOUT = "timeout"
    CLOSED = "server-closed"
    UNKNOWN = "not-on-record"


DIFFERENT = frozenset((Status.DIFFERS, Status.MISSING, Status.EXTRA, Status.TIMEOUT, Status.CLOSED))


@dataclass(slots=True)
class Item:
    """One message that the server was to say. ``exchange`` counts requests (what ends in
    one ReadyForQuery) from 1, 0 is the login; ``number`` counts compared messages from 1."""

    status: Status
    exchange: int
    number: int
    message: str
    request: str = ""
    """What was asked, in a line."""
    differences: list[Difference] = field(default_factory=list)
    normalisers: tuple[str, ...] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Values are text with what is no UTF-8 escaped."""
        return {
            "status": self.status.value,
            "exchange": self.exchange,
            "number": self.number,
            "message": self.message,
            "request": self.request,
            "differences": [
                {"field": d.field, "expected": shown(d.expected), "got": shown(d.got)}
                for d in self.differences
            ],
            "normalisers": list(self.normalisers),
            "note": self.note,
        }

    def lines(self) -> Iterator[str]:
        """For people; safe for terminals."""
        head = f"{self.status.value}  {self.message}"
        if self.note:
            head += f": {one_line(self.note, 300)}"
        yield head
        for d in self.differences:
            yield f"    {one_line(d.field, 80)}"
            yield f"      expected  {one_line(shown(d.expected) or 'NULL or absent', 160)}"
            yield f"      got       {one_line(shown(d.got) or 'NULL or absent', 160)}"


def shown(value: bytes | None) -> str | None:
    """Bytes as text, or hex where they are none."""
    if value is None:
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "\\x" + value.hex()
    if "\0" in text:
        return "\\x" + value.hex()
    return text


@dataclass(slots=True)
class Tally:
    """How many there were of each."""

    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    normalisers: dict[str, int] = field(default_factory=dict)
    exchanges: int = 0
    sent: int = 0
    not_sent: int = 0
    lag: float = 0.0
    """Seconds by which a message left later than its pace asked, at most."""

    def add(self, item: Item) -> None:
        self.counts[item.status] += 1
        for name in item.normalisers:
            self.normalisers[name] = self.normalisers.get(name, 0) + 1

    @property
    def compared(self) -> int:
        return sum(self.counts.values())

    @property
    def different(self) -> bool:
        return any(self.counts[status] for status in DIFFERENT)

    def as_dict(self) -> dict[str, Any]:
        return {
            "exchanges": self.exchanges,
            "messages_sent": self.sent,
            "messages_not_sent": self.not_sent,
            **{status.value.replace("-", "_"): count for status, count in self.counts.items()},
            "normalisers": dict(sorted(self.normalisers.items())),
            "lag_seconds": round(self.lag, 3),
            "different": self.different,
        }
