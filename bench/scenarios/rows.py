"""A large result, plain and masked."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from bench.contenders import Contender
from bench.figures import BenchFault, Check, Metric
from bench.lab import Lab
from bench.scenario import POSTGRES, Contest
from bench.settings import Settings
from bench.stream import Stream, rows
from gateway.policy.masks import build

TABLES = {"plain": "contacts", "masked": "people", "masked and looked into": "visitors"}
"""The same rows thrice; the policy masks two columns of the second and third,
and looks for card numbers and keys in the others of the third."""
EMAIL, SSN = 2, 3
COLUMNS = "id, name, email, ssn, city, note"


class Rows(Contest):
    """Reads a whole table over one connection."""

    name = "rows"
    about = "a SELECT of many rows, plain and with two masked columns"
    contenders = (*POSTGRES, "gateway no masks", "gateway unrecorded")
    briefly = ("direct", "bare relay", "pgbouncer", "gateway os", "gateway no masks")
    metrics = (
        Metric("speed", "MB/s", "more"),
        Metric("rows", "k/s", "more"),
        Metric("cpu", "µs/row", "less"),
        Metric("peak", "MB", "less"),
        Metric("growth", "MB", "less"),
    )

    def __init__(self) -> None:
        self._size = 0
        self._examined: set[tuple[bytes, bool]] = set()
        self._seen: Counter[tuple[str, str]] = Counter()

    def cases(self, settings: Settings) -> Sequence[str]:
        return list(TABLES)

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 10.0, 0.3 + settings.rows / 120_000

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        masking = [name for name in entrants if _masks(name)]
        cases = [case for case in TABLES if case != "plain"]
        return [*super().owed(entrants), *(_masked(n, case) for n in masking for case in cases)]

    def prepare(self, lab: Lab) -> None:
        count = lab.settings.rows

        def make() -> None:
            lab.execute(
                "CREATE TABLE contacts (id integer PRIMARY KEY, name text, email text, "
                "ssn text, city text, note text)",
                "INSERT INTO contacts SELECT n, 'Person ' || n, 'person' || n || '@mail.example', "
                "lpad((n % 899 + 1)::text, 3, '0') || '-' || lpad((n % 99 + 1)::text, 2, '0') "
                "|| '-' || lpad((n % 9999 + 1)::text, 4, '0'), 'City ' || n % 1000, "
                f"'nothing of note about this one ' || n FROM generate_series(1, {count}) n",
                "CREATE TABLE people AS TABLE contacts",
                "CREATE TABLE visitors AS TABLE contacts",
                "VACUUM ANALYZE",
            )

        lab.once(f"{count:,} rows", make)
        with Stream(lab.door.dsn) as stream:
            pieces = stream.query(f"SELECT {COLUMNS} FROM contacts")
        self._clear = {row[0]: row for row in rows(b"".join(pieces))}
        if len(self._clear) != count:
            raise BenchFault(f"the table has {len(self._clear)} rows, not {count}")
        self._size = sum(map(len, pieces))

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        meter = contender.meter
        query = f"SELECT {COLUMNS} FROM {TABLES[case]}"
        with Stream(contender.door.dsn) as stream:
            # The first masked result of a session asks the catalog.
            stream.query(f"{query} LIMIT 1")
            before, held = (meter.cpu(), meter.rss()) if meter else (0.0, 0)
            if meter is not None:
                meter.forget_peak()
            start = time.perf_counter()
            pieces = stream.query(query)
            took = time.perf_counter() - start
            spent, peak = (meter.cpu() - before, meter.peak()) if meter else (0.0, 0)
        self._examine(contender.name, case, b"".join(pieces))
        count = lab.settings.rows
        # The size as the server sends it: masked values are often shorter.
        measured = {"speed": self._size / took / 1e6, "rows": count / took / 1e3}
        if meter is not None:
            meter.settle()
            measured["cpu"] = spent / count * 1e6
            measured["peak"] = peak / 1e6
            measured["growth"] = max(0, peak - held) / 1e6
        return measured

    def _examine(self, name: str, case: str, raw: bytes) -> None:
        """Every value of every row is what it must be. The same bytes are not
        looked at twice."""
        masked = _masks(name) and case != "plain"
        known = (hashlib.sha256(raw).digest(), masked)
        if known not in self._examined:
            self._compare(name, case, raw, masked)
            self._examined.add(known)
        if masked:
            self._seen[name, case] += len(self._clear)

    def _compare(self, name: str, case: str, raw: bytes, masked: bool) -> None:
        email, ssn = build("partial-email", {}), build("keep-last", {"n": 4})
        got = rows(raw)
        if len(got) != len(self._clear):
            raise BenchFault(f"{name}, {case}: {len(got)} rows of {len(self._clear)}")
        for row in got:
            clear = self._clear[row[0]]
            wanted = clear
            if masked:
                mail, number = clear[EMAIL], clear[SSN]
                assert mail is not None
                assert number is not None
                if row[EMAIL] == mail or row[SSN] == number:
                    raise BenchFault(f"{name}, {case}: row {row[0]!r} is in clear")
                wanted = (*clear[:EMAIL], email(mail), ssn(number), *clear[SSN + 1 :])
            if row != wanted:
                raise BenchFault(f"{name}, {case}: row {row[0]!r} is not what it should be")

    def checks(self) -> list[Check]:
        said = [
            Check(_masked(name, case), True, f"{count:,} rows, two values each")
            for (name, case), count in sorted(self._seen.items())
        ]
        self._seen.clear()
        return said


def _masks(name: str) -> bool:
    return name.startswith("gateway") and name != "gateway no masks"


def _masked(name: str, case: str) -> str:
    return f"{name}: rows masked ({case})"


SCENARIOS = (Rows(),)
