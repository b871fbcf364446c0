"""Masks and detectors, apart from everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.alone import Alone, per_call
from bench.figures import BenchFault, Metric
from bench.lab import Lab
from bench.sensitive import FORMS, mixed
from bench.settings import Settings
from gateway.policy.detectors import DETECTORS, SEPARATOR, screen
from gateway.policy.masks import MASKS, build
from gateway.policy.own import own_screen

KEY = b"a key of the bench alone"
SIZE = 1 << 20
PLAIN = b"Order %d was packed by crew %d and left for City %d with note nothing special"
DENSITIES = {"no hits": 0, "a hit in each 100th value": 100, "a hit in each value": 1}
OWN = b"secret-%d-of-the-gateway"


class Masks(Alone):
    """Mask functions on values of about twenty bytes."""

    name = "masks"
    longest = 0.2
    about = "mask functions on single values (person123@mail.example)"
    metrics = (Metric("time", "ns/value", "less"), Metric("speed", "MB/s", "more"))
    variants = tuple(sorted(MASKS))

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["1,000 values"]

    def prepare(self, lab: Lab) -> None:
        self._values = [b"person%d@mail.example" % n for n in range(1000)]
        self._bytes = sum(map(len, self._values))

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        apply, values = build(entrant, {}, KEY), self._values
        if any(apply(value) == value for value in values):
            raise BenchFault(f"{entrant} left a value as it was")
        took = per_call(lambda: [apply(value) for value in values], seconds)
        return {"time": took / len(values) * 1e9, "speed": self._bytes / took / 1e6}


class Detectors(Alone):
    """Screens on joined values, as results are scanned."""

    name = "detectors"
    longest = 0.1
    about = "looking for what must not be shown in 1 MB of joined values"
    metrics = (Metric("speed", "MB/s", "more"), Metric("hits", "/MB"))
    variants = (*sorted(DETECTORS), "all of them", "1,000 own secrets")

    def cases(self, settings: Settings) -> Sequence[str]:
        return [list(DENSITIES)[1]] if settings.smoke else list(DENSITIES)

    def prepare(self, lab: Lab) -> None:
        own = own_screen([OWN % n for n in range(1000)])
        if own is None:
            raise BenchFault("secrets gave no screen")
        self._screens = {kind: screen([kind]) for kind in sorted(DETECTORS)} | {
            "all of them": screen(DETECTORS),
            "1,000 own secrets": own,
        }
        self._data: dict[tuple[str, str], bytes] = {}

    def _values(self, entrant: str, case: str) -> bytes:
        """About a megabyte with hits of that kind, made when its first turn comes and
        kept as long as the case lasts. Without hits it is the same for all."""
        kind = entrant if DENSITIES[case] else ""
        if (kind, case) not in self._data:
            self._data = {key: data for key, data in self._data.items() if key[1] == case}
            forms = {**FORMS, "all of them": mixed, "1,000 own secrets": lambda n: OWN % (n % 1000)}
            self._data[kind, case] = values(DENSITIES[case], forms[entrant])
        return self._data[kind, case]

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        spans, data = self._screens[entrant].spans, self._values(entrant, case)
        found = len(spans(data))
        if bool(found) is not bool(DENSITIES[case]):
            raise BenchFault(f"{entrant}: {found} found in data with {case}")
        took = per_call(lambda: spans(data), seconds)
        return {"speed": len(data) / took / 1e6, "hits": found / (len(data) / 1e6)}


def values(every: int, form: Callable[[int], bytes]) -> bytes:
    """About a megabyte of values; one in ``every`` is sensitive (0: none)."""
    made: list[bytes] = []
    size = n = 0
    while size < SIZE:
        n += 1
        value = form(n) if every and n % every == 0 else PLAIN % (n, n % 17, n % 1000)
        made.append(value)
        size += len(value) + 1
    return SEPARATOR.join(made) + SEPARATOR


SCENARIOS = (Masks(), Detectors())
