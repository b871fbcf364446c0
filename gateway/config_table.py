"""Reading one TOML table strictly: every key is asked for by name and form,
and what nobody asked for is an error with the nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.addresses import Address, parse_address
from gateway.policy.lines import Lines
from gateway.policy.words import nearest

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

Place = tuple[str | int, ...]


class Report:
    """Collects what is wrong, each with file, line and key."""

    def __init__(self, file: Path, text: str) -> None:
        self.base = file.absolute().parent
        self.errors: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self._file = file
        self._lines = Lines(text)

    def error(self, place: Place, message: str) -> None:
        """``message`` continues a sentence whose subject is the key."""
        line = self._lines.of(place)
        self.errors.append((line, f"{self._file}:{line}: {dotted(place)} {message}"))

    def warn(self, place: Place, message: str) -> None:
        line = self._lines.of(place)
        self.warnings.append(f"{self._file}:{line}: {dotted(place)} {message}")

    def check_file(self, place: Place, where: Path) -> None:
        """Report that ``where`` can't be read."""
        try:
            with where.open("rb"):
                pass
        except OSError as error:
            self.error(place, f"is {where}, which can't be read: {error.strerror}")


def dotted(place: Place) -> str:
    """``listener[0].tls``: how a place is called in messages."""
    out = ""
    for step in place:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += ("." if out else "") + step
    return out


class Table:
    """One table. Each method asks for one key; a wrong form is reported and
    the default stands in, so that reading goes on to the next error."""

    def __init__(self, report: Report, place: Place, raw: object) -> None:
        self.report = report
        self.place = place
        self._known: set[str] = set()
        self._raw: Mapping[str, object] = {}
        if isinstance(raw, dict):
            self._raw = raw
        else:
            report.error(place, "must be a table")

    def at(self, key: str) -> Place:
        return (*self.place, key)

    def error(self, key: str, message: str) -> None:
        self.report.error(self.at(key), message)

    def has(self, key: str) -> bool:
        self._known.add(key)
        return key in self._raw

    def raw(self, key: str) -> object:
        self._known.add(key)
        return self._raw.get(key)

    def require(self, key: str) -> bool:
        """True when ``key`` is there; reports it as missing otherwise."""
        if self.has(key):
            return True
        self.error(key, "is missing")
        return False

    def text(self, key: str, default: str = "", choices: Iterable[str] = ()) -> str:
        if not self.has(key):
            return default
        value = self._raw[key]
        if not isinstance(value, str) or not value or "\0" in value:
            self.error(key, "must be a text that is not empty")
            return default
        choices = tuple(choices)
        if choices and value not in choices:
            tail = nearest(value, choices)
            known = "" if "known" in tail else f" (one of {', '.join(choices)})"
            self.error(key, f'can\'t be "{value}"{tail}{known}')
            return default
        return value

    def number(self, key: str, default: int, least: int, most: int) -> int:
        if not self.has(key):
            return default
        value = self._raw[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.error(key, f"must be a whole number from {least} to {most}")
            return default
        return value

    def texts(
        self, key: str, default: tuple[str, ...] = (), choices: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """A list of texts, none empty, none twice."""
        if not self.has(key):
            return default
        value = self._raw[key]
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            self.error(key, "must be a list of texts")
            return default
        if len(set(value)) != len(value):
            self.error(key, "names something twice")
        choices = tuple(choices)
        for number, word in enumerate(value):
            if choices and word not in choices:
                self.report.error(
                    (*self.place, key, number), f'can\'t be "{word}"{nearest(word, choices)}'
                )
        return tuple(value)

    def text_map(self, key: str) -> dict[str, str]:
        """A table of texts."""
        if not self.has(key):
            return {}
        value = self._raw[key]
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            self.error(key, "must be a table of texts")
            return {}
        return dict(value)

    def duration(self, key: str, default: float) -> float:
        """Seconds; "0" turns the limit off."""
        text = self.text(key)
        if not text:
            return default
        if text == "0":
            return 0.0
        match = _DURATION.fullmatch(text)
        if match is None:
            self.error(key, 'must be a duration such as "30s", "5m" or "0" for off')
            return default
        return int(match[1]) * _SECONDS[match[2]]

    def size(self, key: str, default: int) -> int:
        """Bytes."""
        text = self.text(key)
        if not text:
            return default
        match = _SIZE.fullmatch(text)
        if match is None:
            self.error(key, 'must be a size such as "64KiB", "1MiB" or "1GiB"')
            return default
        return int(match[1]) * _BYTES[match[2]]

    def address(self, key: str, *, zero_port: bool = False) -> Address:
        """A required ``host:port``; a placeholder when there is an error."""
        if self.require(key) and (text := self.text(key)):
            try:
                return parse_address(text, zero_port=zero_port)
            except ValueError as error:
                self.error(key, str(error))
        return Address("invalid.invalid", 1)

    def path(self, key: str, *, file: bool = True) -> Path | None:
        """A path relative to the configuration; ``file``: it must be a file
        that can be read."""
        text = self.text(key)
        if not text:
            return None
        where = self.report.base / text
        if file:
            self.report.check_file(self.at(key), where)
        return where

    def tables(self, key: str) -> list[Table]:
        """``[[key]]``: an array of tables."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.error(key, f"must be written as [[{key}]]")
            return []
        return [Table(self.report, (*self.place, key, n), raw) for n, raw in enumerate(value)]

    def named(self, key: str) -> dict[str, Table]:
        """``[key.NAME]``: tables by name."""
        value = self.raw(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.error(key, f"must be written as [{key}.NAME]")
            return {}
        return {name: Table(self.report, (*self.at(key), name), raw) for name, raw in value.items()}

    def table(self, key: str) -> Table:
        """``[key]``; an empty one when it is absent."""
        return Table(self.report, self.at(key), self.raw(key) if self.has(key) else {})

    def finish(self) -> None:
        """Report every key that nobody asked for."""
        for key in self._raw:
            if key not in self._known:
                self.error(key, f"is not a known key{nearest(key, self._known)}")
