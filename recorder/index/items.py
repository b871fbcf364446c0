"""What of a session is searched: commands, events, and what git said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from recorder import git_story
from recorder.git_story import Line, What
from recorder.reader import Recording, decoded
from recorder.records import CommandEntry, Event, StoredSpan
from recorder.render import one_line
from recorder.streams import Told
from recorder.timeline import entry_fields, line

_TEXTS: Final = (What.TEXT, What.ERROR, What.REPORT, What.END)
_UNPLACED: Final = -1


class Said(NamedTuple):
    """A line that a push or fetch showed. ``ours``: the gateway's own words."""

    what: str
    ours: bool
    words: tuple[str, ...]


class Item(NamedTuple):
    """One of them. ``place`` counts the items of its session from 0; ``seq`` is the
    number of its record, -1 in a git-ssh session; ``at`` is in nanoseconds."""

    place: int
    seq: int
    at: int
    entry: CommandEntry | Event | Said

    def texts(self) -> list[str]:
        """What a search looks at."""
        entry = self.entry
        if isinstance(entry, CommandEntry):
            found = [entry.text, entry.reason, *entry.rules]
            return found + [p for p in entry.parameters or () if p is not None]
        if isinstance(entry, Event):
            return [entry.kind, *map(str, entry.fields.values())]
        return [" ".join(entry.words)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        entry, at = self.entry, self.at / 1e9
        if isinstance(entry, Said):
            teller, text = _teller(entry), " ".join(entry.words)
            return {"at": at, "event": entry.what, "from": teller, "text": text}
        if self.seq == _UNPLACED:
            return {"at": at, **entry_fields(entry)}
        return {"seq": self.seq, "at": at, **entry_fields(entry)}

    def shown(self) -> str:
        """For people, safe for a terminal."""
        if isinstance(self.entry, Said):
            said = f"{self.entry.what}  {_teller(self.entry)}: "
            return said + one_line(" ".join(self.entry.words))
        return line(self.entry)

    def packed(self) -> list[Any]:
        """In msgpack's types; ``unpacked`` is the way back."""
        entry = self.entry
        kind = 0 if isinstance(entry, CommandEntry) else 1 if isinstance(entry, Event) else 2
        return [self.place, self.seq, self.at, kind, *entry]


def unpacked(raw: list[Any]) -> Item:
    """The item that was packed. ``ValueError`` or ``TypeError`` if none was."""
    place, seq, at, kind, *rest = raw
    entry: CommandEntry | Event | Said
    if kind == 0:
        rest[4], rest[9], rest[10] = tuple(rest[4]), tuple(rest[9]), tuple(rest[10])
        rest[8] = rest[8] if rest[8] is None else tuple(rest[8])
        entry = CommandEntry(*rest)
    elif kind == 1:
        entry = Event(*rest)
    else:
        what, ours, words = rest
        entry = Said(what, ours, tuple(words))
    return Item(place, seq, at, entry)


def items(recording: Recording, protocol: str) -> Iterator[Item]:
    """Those of ``recording``, in order. Raises ``FormatError`` where it breaks,
    after yielding all that is before."""
    place = 0
    if protocol == git_story.PROTOCOL:
        for told in git_story.lines(recording):
            if isinstance(told, Line) and told.what in _TEXTS:
                said = Said(told.what.value, told.ours, told.words)
                yield Item(place, _UNPLACED, told.at, said)
                place += 1
            elif isinstance(told, Told):
                yield Item(place, _UNPLACED, told.at, told.entry)
                place += 1
        return
    for record in decoded(recording):
        for entry in record.entries:
            if not isinstance(entry, StoredSpan):
                yield Item(place, record.seq, record.at, entry)
                place += 1


def _teller(said: Said) -> str:
    return "gateway" if said.ours else "remote"
