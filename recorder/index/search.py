"""Answers: which sessions, which items. With an index or without, the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

from recorder.catalog import Line, describe, row_of_damaged
from recorder.errors import FormatError
from recorder.index.content import Facts, stamp_of
from recorder.index.items import Item, items
from recorder.index.tables import Index, Kept
from recorder.index.wanted import Wanted, approval_names
from recorder.live import LiveSession, live_sessions
from recorder.parted import log_of
from recorder.reader import Recording, every_log, goes_on
from recorder.state import session_of

Place = tuple[str, str, str]


@dataclass
class Found:
    """A session that is wanted. ``items``: those of its items that are, in order, or
    backwards; they are read as they are asked for. ``broken`` is why not all could be,
    once they were."""

    facts: Facts
    items: Iterator[Item]

    @property
    def line(self) -> Line:
        """Its row."""
        return self.facts.line

    @property
    def order(self) -> Place:
        """By what sessions are put in order."""
        return self.line.started, self.line.session, self.line.path


@dataclass
class Search:
    """A search of one state directory. ``stale`` are the places of Logs that an index
    does not know as they are; they were answered from the files. ``breaks`` says of sessions,
    once all were looked at, why not all of their items could be."""

    state: Path
    wanted: Wanted
    index: Index | None = None
    newest_first: bool = False
    live: list[LiveSession] | None = None
    stale: set[str] = field(default_factory=set)
    breaks: dict[str, str] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def sessions(self) -> Iterator[Found]:
        """Sessions that are wanted, by the time they began. Raises ``DatabaseTrouble`` and
        ``DamagedIndex`` if there is an index."""
        live = self._live()
        for found in self._sealed():
            while live and self._before(live[0].order, found.order):
                yield live.pop(0)
            yield found
        yield from live
        if self.index is not None and self.wanted.about_items:
            for kept in self.index.sessions(self.wanted, broken=True):
                facts = kept.facts(self.state, self.index.home)
                if kept.place not in self.stale and self.wanted.session(facts.line):
                    self.breaks[facts.line.session] = facts.broken

    def _before(self, one: Place, other: Place) -> bool:
        return one > other if self.newest_first else one < other

    def _live(self) -> list[Found]:
        """Looked for first: what is sealed meanwhile is among the Logs then."""
        open_now = live_sessions(self.state / "journal") if self.live is None else self.live
        live = {str(session.header["session"]): session for session in open_now}
        sealed: set[str] | None = None
        if self.index is None:
            logs = [path for path in every_log(self.state) if not goes_on(path, live)]
            sealed = {session_of(path) for path in logs}
            self._open = live.keys() - sealed
        found = []
        for name, session in live.items():
            if sealed is None and self.index is not None:
                if self.index.holds(name):
                    continue
            elif sealed is not None and name in sealed:
                continue
            taken = self._recording(session, describe(session))
            if taken is not None:
                found.append(taken)
        return sorted(found, key=lambda f: f.order, reverse=self.newest_first)

    # -- without an index --------------------------------------------------

    def _sealed(self) -> Iterator[Found]:
        if self.index is not None:
            yield from self._indexed(self.index)
            return
        rows = []
        for path in every_log(self.state):
            if session_of(path) in self._open:
                continue  # what of it is in parts was told with the rest
            line = row_of(path)
            if line is not None and self.wanted.session(line):
                rows.append(line)
        rows.sort(key=lambda r: (r.started, r.session, r.path), reverse=self.newest_first)
        for line in rows:
            found = self._file(Path(line.path))
            if found is not None:
                yield found

    def _file(self, path: Path) -> Found | None:
        try:
            log = log_of(path)
        except FileNotFoundError:
            return None
        except FormatError as error:
            line = row_of_damaged(path, error)
            if not (self.wanted.session(line) and self.wanted.approved(())):
                return None
            if self.wanted.about_items:
                self.breaks[line.session] = str(error)
                return None
            return Found(Facts(line, str(error), error.torn), iter(()))
        line = row_of(path) or describe(log)
        return self._recording(log, line)

    def _recording(self, recording: Recording, line: Line) -> Found | None:
        facts = Facts(line)
        wanted = self.wanted
        if not wanted.session(line):
            recording.close()
            return None
        if wanted.approval is not None:
            names = {name for item in self._all(recording, facts) for name in approval_names(item)}
            if not wanted.approved(names):
                recording.close()
                return None
        if wanted.about_items and not any(map(wanted.item, self._all(recording, facts))):
            recording.close()
            return None
        return Found(facts, self._chosen(recording, facts))

    def _chosen(self, recording: Recording, facts: Facts) -> Iterator[Item]:
        try:
            chosen = filter(self.wanted.item, self._all(recording, facts))
            yield from reversed([*chosen]) if self.newest_first else chosen
        finally:
            recording.close()

    def _all(self, recording: Recording, facts: Facts) -> Iterator[Item]:
        """Its items up to where it breaks."""
        again = recording.again()
        try:
            yield from items(again, facts.line.protocol)
        except FormatError as error:
            facts.broken, facts.torn = str(error), error.torn
            self.breaks[facts.line.session] = facts.broken
        finally:
            again.close()

    # -- with one ----------------------------------------------------------

    def _indexed(self, index: Index) -> Iterator[Found]:
        every: Iterator[tuple[Kept, Iterator[Item]]]
        if self.wanted.about_items:
            every = self._paged(index)
        else:
            every = ((kept, iter(())) for kept in index.sessions(self.wanted, self.newest_first))
        for _, some in groupby(every, key=lambda found: found[0].id >> 21):
            together = []
            for kept, chosen in some:
                found = self._kept(index, kept, chosen)
                if found is not None:
                    together.append(found)
            yield from sorted(together, key=lambda f: f.order, reverse=self.newest_first)

    def _paged(self, index: Index) -> Iterator[tuple[Kept, Iterator[Item]]]:
        """Sessions with items that are wanted. These are looked at first: to look at the
        session, and at its file, costs more than a page."""
        pages = index.pages(self.wanted, self.newest_first)
        for _, together in groupby(pages, key=lambda found: found[0] >> 21):
            by_session: dict[int, list[tuple[int, int]]] = {}
            for page, session, first in together:
                by_session.setdefault(session, []).append((first, page))
            for session, places in by_session.items():
                places.sort(reverse=self.newest_first)
                chosen = self._items(index, [page for _, page in places])
                one = next(chosen, None)
                kept = None if one is None else index.session(session)
                if one is not None and kept is not None:
                    yield kept, chain([one], chosen)

    def _kept(self, index: Index, kept: Kept, chosen: Iterator[Item]) -> Found | None:
        facts = kept.facts(self.state, index.home)
        if kept.home == index.home:
            path = self.state / kept.place
            try:
                if stamp_of(path) != kept.stamp:
                    self.stale.add(kept.place)
                    return self._file(path)
            except FileNotFoundError:
                self.stale.add(kept.place)
                return None
        return Found(facts, chosen) if self.wanted.session(facts.line) else None

    def _items(self, index: Index, pages: list[int]) -> Iterator[Item]:
        wanted = self.wanted
        for some in index.items(pages):
            if wanted.pattern is not None and not wanted.pattern.may_be_in(
                text for item in some for text in item.texts()
            ):
                continue
            chosen = [item for item in some if wanted.item(item)]
            yield from reversed(chosen) if self.newest_first else chosen


def row_of(path: Path) -> Line | None:
    """The row of a Log, damaged or not; None if it is gone."""
    try:
        log = log_of(path)
    except FileNotFoundError:
        return None
    except FormatError as error:
        return row_of_damaged(path, error)
    try:
        return describe(log)
    except (ValueError, OverflowError, OSError):
        return row_of_damaged(path, FormatError("its header can't be shown", 0))
    finally:
        log.close()
