"""``when``: a window of the week, e.g.
``{ days = ["mon", "fri"], hours = "08:00-17:00", tz = "Europe/Prague" }``.

Hours are wall-clock times in ``tz`` (default UTC), the end excluded; a window
may run over midnight (``22:00-06:00``) and then belongs to the day on which it
begins.  No time, or one without a zone, is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

from gateway.policy.conditions import Condition, Shape
from gateway.policy.fields import Table
from gateway.policy.principal import Principal
from protocols.contract import Command, Part

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24:00))")
_DAY = 24 * 60

Zone = Callable[[str], tzinfo]
"""The zone of that name; KeyError, ValueError or OSError where there is none."""


def read_when(table: Table, zone: Zone) -> Condition | None:
    """The condition of a ``when`` table."""
    days = table.words("days", DAYS, "day")
    hours = table.strings("hours", _complaint)
    name = table.text("tz")
    table.close()
    place: tzinfo = UTC
    if name is not None:
        try:
            place = zone(name)
        except (KeyError, ValueError, OSError):
            table.fault("tz", f'unknown time zone "{name}"')
            return None
    if days is None and hours is None:
        if "days" not in table and "hours" not in table:
            table.fault(None, "needs days or hours")
        return None
    wanted = frozenset(DAYS.index(day) for day in days or DAYS)
    spans = [_span(text) for text in hours or ("00:00-24:00",)]

    def inside(now: datetime) -> bool:
        local = now.astimezone(place)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        for start, end in spans:
            if start < end:
                if start <= minute < end and day in wanted:
                    return True
            elif (minute >= start and day in wanted) or (minute < end and (day - 1) % 7 in wanted):
                return True
        return False

    def restrict(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return now is None or now.tzinfo is None or inside(now)

    def permit(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return now is not None and now.tzinfo is not None and inside(now)

    def show(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        known = now is not None and now.tzinfo is not None
        return now.astimezone(place).strftime("%a %H:%M %Z") if now and known else None

    shape = Shape("when", (tuple(sorted(wanted)), tuple(sorted(spans)), name or "UTC"))
    return Condition("when", shape, restrict, permit, show, volatile=True)


def _complaint(text: str) -> str:
    if not _HOURS.fullmatch(text):
        return f'"{text}" is no window such as "08:00-17:00"'
    start, end = _span(text)
    return f'"{text}" can never match: it is empty' if start == end else ""


def _span(text: str) -> tuple[int, int]:
    found = _HOURS.fullmatch(text)
    assert found is not None
    start = int(found[1]) * 60 + int(found[2])
    return start, _DAY if found[5] else int(found[3]) * 60 + int(found[4])
