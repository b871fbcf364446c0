"""Sessions, their marks and pages in a database. Ids grow with the time at which a
session began, so that what is newest comes first without sorting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from recorder.index.content import Content, Facts, Stamp, facts_of, items_of, text_of
from recorder.index.database import Database, Row
from recorder.index.items import Item
from recorder.index.wanted import Wanted, verdict_word

_LOW = 21
"""Bits of an id below those of the millisecond."""
_MASK = (1 << _LOW) - 1
_TOP = (1 << 63) - 1
_FEW = 1000
"""Sessions of which all pages are looked at rather than asked for by their text."""
_WORDS = 20_000
"""Words whose numbers are remembered."""
_BROKEN = ("with", "broken")
_VERDICT_BITS = {verdict_word(number): 1 << number for number in range(4)}


class Kept(NamedTuple):
    """A session as an index has it. ``place`` is relative to its gateway's ``home``."""

    id: int
    home: str
    place: str
    stamp: Stamp
    body: bytes

    def facts(self, state: Path, home: str) -> Facts:
        """Its row. The path is below ``state`` if it is of the gateway ``home``, else below the
        name of the other one. Raises ``DamagedIndex``."""
        root = state if self.home == home else Path(self.home)
        return facts_of(self.body, root / self.place)


_KEPT = "s.id, s.home, s.place, s.inode, s.size, s.mtime, s.body"


def _kept(row: Row) -> Kept:
    return Kept(row[0], row[1], row[2], Stamp(*row[3:6]), bytes(row[6]))


def storable(text: str) -> str:
    """``text`` for a database's column of text: no NUL, no lone surrogate, and still no
    two that are alike."""
    if text.isascii() and "\0" not in text and "\\" not in text:
        return text
    text = text.replace("\\", "\\\\").replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()


class Index:
    """What a database holds, for the gateway whose Logs ``home`` names."""

    def __init__(self, database: Database, home: str = "") -> None:
        self.database = database
        self.home = home
        self._words: dict[tuple[str, str], int] = {}

    # -- upkeep ------------------------------------------------------------

    def days(self) -> dict[str, int]:
        """Folders of Logs, with the time of change at which they were read."""
        sql = "select day, mtime from day where home = ?"
        return dict(map(tuple, self.database.rows(sql, [self.home])))

    def note_day(self, day: str, mtime: int) -> None:
        """A folder was read; ``mtime`` 0 that it must be again."""
        sql = "insert into day (home, day, mtime) values (?, ?, ?) on conflict (home, day) "
        self.database.run(sql + "do update set mtime = excluded.mtime", [(self.home, day, mtime)])

    def drop_day(self, day: str) -> None:
        """Forget a folder that is gone."""
        self.database.run("delete from day where home = ? and day = ?", [(self.home, day)])

    def places(self, day: str) -> dict[str, int]:
        """The Logs of a folder, with their inodes."""
        sql = "select place, inode from session where home = ? and day = ?"
        return dict(map(tuple, self.database.rows(sql, [self.home, day])))

    def add(self, place: str, day: str, content: Content) -> None:
        """Take in a Log that it does not hold."""
        line = content.facts.line
        began = max(0, min(round(line.begun.timestamp() * 1000), (1 << 41) - 1)) << _LOW
        session = self._free("session", began, crc32(f"{self.home}\0{place}".encode()), 1)
        db = self.database
        for count, page in enumerate(content.pages()):
            number = began | (session + count & _MASK)
            for (taken,) in db.rows("select id from page where id = ?", [number]):
                number = self._free("page", began, int(taken) + 1, 1)
            sql = "insert into page (id, session, first, verdicts, body) values (?, ?, ?, ?, ?)"
            db.run(sql, [(number, session, page.first, page.verdicts, page.body)])
            db.put_text(number, page.text)
        facts = content.facts  # by now all of its marks are known
        sql = "insert into session (id, home, name, place, day, inode, size, mtime, body) "
        row = (session, self.home, storable(line.session), place, day, *content.stamp)
        db.run(sql + "values (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(*row, facts.packed())])
        if facts.broken:
            facts.marks.add(_BROKEN)
        marks = [(kind, storable(value)) for kind, value in sorted(facts.marks)]
        sql = "insert into word (kind, value) values (?, ?) on conflict do nothing"
        missing = [mark for mark in marks if self._word(*mark) is None]
        if missing:
            db.run(sql, missing)
        sql = "insert into mark (word, session) values (?, ?)"
        db.run(sql, [(self._word(*mark), session) for mark in marks])

    def drop(self, place: str) -> None:
        """Forget a Log."""
        db = self.database
        sql = "select id from session where home = ? and place = ?"
        for (session,) in [*db.rows(sql, [self.home, place])]:
            pages = db.rows("select id, body from page where session = ?", [session])
            for number, body in [*pages]:
                db.drop_text(number, partial(_text, bytes(body)))
            for table, column in (("page", "session"), ("mark", "session"), ("session", "id")):
                db.run(f"delete from {table} where {column} = ?", [(session,)])

    def forget(self) -> None:
        """Drop all Logs of this gateway, and only these."""
        with self.database.transaction():
            sql = "select place from session where home = ?"
            for (place,) in [*self.database.rows(sql, [self.home])]:
                self.drop(place)
            self.database.run("delete from day where home = ?", [(self.home,)])

    def _word(self, kind: str, value: str) -> int | None:
        known = self._words.get((kind, value))
        if known is not None:
            return known
        sql = "select id from word where kind = ? and value = ?"
        for (number,) in self.database.rows(sql, [kind, value]):
            if len(self._words) >= _WORDS:
                self._words.clear()
            self._words[kind, value] = int(number)  # words are never deleted
            return int(number)
        return None

    def _free(self, table: str, began: int, start: int, step: int) -> int:
        number = began | (start & _MASK)
        sql = f"select 1 from {table} where id = ?"
        while [*self.database.rows(sql, [number])]:
            start += step
            number = began | (start & _MASK)
        return number

    # -- questions ---------------------------------------------------------

    def named(self, start: str) -> list[Kept]:
        """Sessions whose id starts so, some at most."""
        sql = f"select {_KEPT} from session s where s.name >= ? and s.name < ? limit 6"
        return [*map(_kept, self.database.rows(sql, [start, start + "\x7f"]))]

    def count(self) -> tuple[int, int]:
        """Sessions and pages."""
        sql = "select (select count(*) from session), (select count(*) from page)"
        sessions, pages = next(self.database.rows(sql))
        return int(sessions), int(pages)

    def holds(self, name: str) -> bool:
        """Whether there is a session of this gateway with that id."""
        sql = "select 1 from session where name = ? and home = ?"
        return bool([*self.database.rows(sql, [storable(name), self.home])])

    def sessions(
        self, wanted: Wanted, newest_first: bool = True, broken: bool = False
    ) -> Iterator[Kept]:
        """Those that may be wanted, by the time they began (to the millisecond).
        ``broken``: those alone whose items could not all be read, whatever these are."""
        way = "desc" if newest_first else "asc"
        marked = self._marked(wanted, broken)
        if marked is None:
            return
        least, most = _range(wanted)
        arguments: list[object]
        if not marked:
            sql = f"select {_KEPT} from session s where s.id between ? and ? order by s.id {way}"
            arguments = [least, most]
        else:
            first, *rest = marked
            sql = f"select {_KEPT} from mark m join session s on s.id = m.session "
            sql += "where m.word = ? and m.session between ? and ?" + _also("m.session", rest)
            sql += f" order by m.session {way}"
            arguments = [first, least, most, *rest]
        yield from map(_kept, self.database.rows(sql, arguments))

    def pages(self, wanted: Wanted, newest_first: bool = True) -> Iterator[tuple[int, int, int]]:
        """Pages (id, session's id, place of the first item) that may hold wanted items, by
        the time at which their sessions began."""
        way = "desc" if newest_first else "asc"
        marked = self._marked(wanted)
        if marked is None:
            return
        least, most = _range(wanted)
        bits = _VERDICT_BITS.get(wanted.verdict or "", 0)
        judged = f" and p.verdicts & {bits} <> 0" if bits else ""
        arguments: list[object]
        few = marked and self._size(marked[0]) < _FEW
        if wanted.grams and not few:
            source, where, given = self.database.text_source(wanted.grams)
            sql = f"select p.id, p.session, p.first from {source} cross join page p "
            sql += f"where p.id = g.id {where}"
            sql += f" and g.id between ? and ?{judged}{_also('p.session', marked)}"
            sql += f" order by g.id {way}"
            arguments = [*given, least, most, *marked]
        elif marked:
            first, *rest = marked
            sql = (
                "select p.id, p.session, p.first from mark m join page p on p.session = m.session "
            )
            sql += f"where m.word = ? and m.session between ? and ?{judged}"
            sql += _also("m.session", rest) + f" order by m.session {way}, p.id {way}"
            arguments = [first, least, most, *rest]
        else:
            sql = f"select p.id, p.session, p.first from page p where p.id between ? and ?{judged}"
            sql += f" order by p.id {way}"
            arguments = [least, most]
        for page, session, first in self.database.rows(sql, arguments):
            yield int(page), int(session), int(first)

    def session(self, number: int) -> Kept | None:
        """The session with an id of this index."""
        sql = f"select {_KEPT} from session s where s.id = ?"
        return next(map(_kept, self.database.rows(sql, [number])), None)

    def items(self, pages: Sequence[int]) -> Iterator[list[Item]]:
        """The items of pages, in the order asked for. Raises ``DamagedIndex``."""
        at, size = 0, 1
        while at < len(pages):
            some = pages[at : at + size]
            sql = f"select id, body from page where id in ({', '.join('?' * len(some))})"
            found = {int(number): bytes(body) for number, body in self.database.rows(sql, some)}
            yield from (items_of(found[number]) for number in some if number in found)
            at += size
            size = min(64, size * 4)

    def _marked(self, wanted: Wanted, broken: bool = False) -> list[int] | None:
        """Ids of the marks that it needs, the rarest first; None if there is one that no
        session has."""
        found = []
        needed = [*wanted.marks()]
        if broken:
            needed = [mark for mark in needed if mark[0] not in ("verdict", "rule")] + [_BROKEN]
        for kind, value in needed:
            word = self._word(kind, storable(value))
            if word is None:
                return None
            found.append(word)
        if len(found) > 1:
            found.sort(key=self._size)
        return found

    def _size(self, word: int) -> int:
        """How many sessions a mark has, up to ``_FEW``."""
        sql = f"select count(*) from (select 1 from mark where word = ? limit {_FEW}) few"
        return int(next(self.database.rows(sql, [word]))[0])

    # -- all of it ---------------------------------------------------------

    def dump(self) -> Iterator[tuple[object, ...]]:
        """Everything it holds of this gateway, row by row, without its own numbers."""
        sql = f"select {_KEPT} from session s where s.home = ? order by s.place"
        for kept in [*map(_kept, self.database.rows(sql, [self.home]))]:
            facts = kept.facts(Path(), self.home)
            yield ("session", kept.place, kept.stamp, facts.line, facts.broken, facts.torn)
            sql = "select w.kind, w.value from mark m join word w on w.id = m.word "
            marks = self.database.rows(sql + "where m.session = ?", [kept.id])
            yield from sorted(("mark", kept.place, *mark) for mark in marks)
            pages = self.database.rows("select id from page where session = ?", [kept.id])
            for items in sorted(self.items([int(row[0]) for row in pages])):
                yield ("page", kept.place, len(items))
                yield from (("item", kept.place, item) for item in items)


def _text(body: bytes) -> str:
    return text_of(items_of(body))


def _also(column: str, marks: Iterable[int]) -> str:
    clause = f" and exists (select 1 from mark x where x.word = ? and x.session = {column})"
    return clause * len([*marks])


def _range(wanted: Wanted) -> tuple[int, int]:
    """The least and the greatest id of sessions that began when it says."""
    least, most = 0, _TOP
    if wanted.since is not None:
        least = max(0, int(wanted.since.timestamp() * 1000) - 1) << _LOW
    if wanted.until is not None:
        most = max(0, int(wanted.until.timestamp() * 1000) + 2) << _LOW
    return min(least, _TOP), min(most, _TOP)
