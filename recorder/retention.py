"""How long sessions are kept: the table ``[retention]`` of gateway.toml.

``keep`` is the least time, ``delete_after`` the most, ``keep_local`` how long a copy stays on the
gateway's own disk once an object store has it, too; all count from a session's end. The first
``[[retention.rule]]`` that fits a session stands for it, else what the table itself says.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from recorder.catalog import Line

Place = tuple[str | int, ...]
Wrong = list[tuple[Place, str]]

_SPAN = re.compile(r"([1-9][0-9]{0,5})([hdw])")
_TIMES = ("keep", "delete_after", "keep_local")
_HOURS = {"h": 1, "d": 24, "w": 168}


class RetentionError(Exception):
    """Rules that can't be read; nothing is deleted by them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """For sessions of ``target`` ("": any) with ``tag`` (None: any). None of ``delete_after``:
    never by itself; of ``keep_local``: for as long as the session is kept."""

    name: str
    target: str = ""
    tag: tuple[str, str] | None = None
    keep: timedelta = timedelta(0)
    delete_after: timedelta | None = None
    keep_local: timedelta | None = None

    def fits(self, line: Line) -> bool:
        """Whether it is for that session."""
        if self.target and line.target != self.target:
            return False
        return self.tag is None or line.tags.get(self.tag[0]) == self.tag[1]


@dataclass(frozen=True, slots=True)
class Retention:
    """Rules, in their order; the last fits everything."""

    rules: tuple[Rule, ...] = (Rule("retention"),)

    def rule_of(self, line: Line) -> Rule:
        """The one that stands for a session."""
        return next(rule for rule in self.rules if rule.fits(line))


def span(text: str) -> timedelta:
    """``12h``, ``90d``, ``52w``; ``ValueError`` otherwise."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is no time from "1h" on, such as "12h", "90d" or "52w"')
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def ended(line: Line) -> datetime:
    """When a session ended, as far as its row tells."""
    return line.begun + timedelta(seconds=line.seconds or 0.0)


def read_retention(raw: object, wrong: Wrong) -> Retention:
    """The table as TOML gives it. What is wrong with it goes to ``wrong``: places below
    ``retention``, and sentences whose subject is the key."""
    if raw is None:
        return Retention()
    if not isinstance(raw, dict):
        wrong.append(((), "must be a table"))
        return Retention()
    rules = []
    tables = raw.get("rule", [])
    if not isinstance(tables, list):
        wrong.append((("rule",), "must be written as [[retention.rule]]"))
        tables = []
    for number, table in enumerate(tables):
        place: Place = ("rule", number)
        if not isinstance(table, dict):
            wrong.append((place, "must be a table"))
            continue
        rule = _rule(table, place, wrong, ("target", "tag", *_TIMES))
        if not rule.target and rule.tag is None:
            wrong.append((place, "fits every session: name a target or a tag"))
        rules.append(rule)
    rules.append(_rule(raw, (), wrong, ("rule", *_TIMES)))
    return Retention(tuple(rules))


def _rule(table: Mapping[str, Any], place: Place, wrong: Wrong, known: tuple[str, ...]) -> Rule:
    for key in table:
        if key not in known:
            some = ", ".join(known)
            wrong.append(((*place, key), f"is not a known key (one of {some})"))
    texts = {}
    for key in ("target", "tag", *_TIMES):
        value = table.get(key)
        if key in known and value is not None:
            if isinstance(value, str) and value:
                texts[key] = value
            else:
                wrong.append(((*place, key), "must be a text that is not empty"))
    times: dict[str, timedelta] = {}
    for key in _TIMES:
        try:
            if key in texts:
                times[key] = span(texts[key])
        except ValueError as error:
            wrong.append(((*place, key), f"= {error}"))
    keep, delete_after = times.get("keep", timedelta(0)), times.get("delete_after")
    if delete_after is not None and delete_after < keep:
        wrong.append(((*place, "delete_after"), "is less than keep"))
    tag = None
    if "tag" in texts:
        key, equals, value = texts["tag"].partition("=")
        tag = (key, value)
        if not key or not equals:
            wrong.append(((*place, "tag"), 'must be a text such as "env=prod"'))
    told = [f"target {texts['target']}"] if "target" in texts else []
    told += [f"tag {texts['tag']}"] if tag else []
    name = "retention rule for " + " and ".join(told) if told else "retention"
    return Rule(name, texts.get("target", ""), tag, keep, delete_after, times.get("keep_local"))


def load_retention(path: Path) -> Retention:
    """The rules in a gateway.toml. Raises ``RetentionError``, ``OSError``."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise RetentionError(f"{path}: {error}") from None
    wrong: Wrong = []
    found = read_retention(raw.get("retention"), wrong)
    if wrong:
        place, message = wrong[0]
        where = ".".join(map(str, ("retention", *place)))
        raise RetentionError(f"{path}: {where} {message}")
    return found
