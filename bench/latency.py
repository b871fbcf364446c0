"""Latencies as an HDR histogram: percentiles that don't hide the slow ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from hdrh.histogram import HdrHistogram

from bench.figures import Metric

HIGHEST = 600_000_000
"""Ten minutes in µs; what takes longer counts as that."""
DIGITS = 3
SHOWN = (50.0, 90.0, 99.0, 99.9, 100.0)
"""Of these a result tells; the histogram has the others."""
METRICS = (
    Metric("p50", "ms", "less"),
    Metric("p99", "ms", "less"),
    Metric("p99.9", "ms", "less"),
)


def carries(metric: str, count: int) -> bool:
    """Whether so many latencies carry a percentile: p99.9 of a hundred is but the
    slowest one. True for what is no percentile."""
    if not metric.startswith("p") or not metric[1:].replace(".", "").isdigit():
        return True
    return count * (100 - float(metric[1:])) >= 100 - 1e-6


class Latency:
    """Counts of microseconds, to three digits."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, HIGHEST, DIGITS)

    @classmethod
    def of(cls, microseconds: Iterable[float]) -> Latency:
        made = cls()
        # Equal ones together: a call per value is what costs here.
        for value, count in Counter(map(int, microseconds)).items():
            made._histogram.record_value(min(max(value, 1), HIGHEST), count)
        return made

    @classmethod
    def decoded(cls, text: str) -> Latency:
        """From what ``encoded`` gave."""
        made = cls()
        made._histogram.decode_and_add(text.encode())
        return made

    @property
    def count(self) -> int:
        return int(self._histogram.get_total_count())

    def add(self, other: Latency) -> None:
        """Take in the counts of another."""
        self._histogram.add(other._histogram)

    def at(self, percentile: float) -> float:
        """Milliseconds that so many percent did not exceed."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e3

    def metrics(self) -> dict[str, float]:
        """``METRICS``, of one turn."""
        return {"p50": self.at(50), "p99": self.at(99), "p99.9": self.at(99.9)}

    def encoded(self) -> str:
        """HdrHistogram's own compressed form (V2, base64), in µs."""
        return str(self._histogram.encode().decode())

    def as_json(self) -> dict[str, object]:
        """Shape in README.md."""
        named = {f"p{p:g}": round(self.at(p), 4) for p in SHOWN[:-1]}
        return {
            "unit": "ms",
            "count": self.count,
            **named,
            "max": round(self.at(100), 4),
            "hdr": self.encoded(),
        }


def of_pgbench(folder: Path) -> Latency:
    """From what ``pgbench --log`` wrote into ``folder``: the third word of each
    line is a transaction's latency in µs."""
    found: list[int] = []
    for path in folder.iterdir():
        with path.open("rb") as file:
            found += [int(line.split(None, 3)[2]) for line in file if line.endswith(b"\n")]
    return Latency.of(found)


def percentiles_of(told: Mapping[str, object]) -> list[tuple[float, float]]:
    """(percentile, ms) of a result's ``latency``, close enough together to draw."""
    made = Latency.decoded(str(told["hdr"]))
    # Each step halves what is left: 50, 75, 87.5 … as far as the count carries.
    points, left = [(0.0, made.at(0))], 1.0
    while left * made.count >= 1 and left > 1e-5:
        for part in (1.0, 0.841, 0.707, 0.595):
            percentile = 100 * (1 - left * part)
            if percentile > 0:
                points.append((percentile, made.at(percentile)))
        left /= 2
    return points
