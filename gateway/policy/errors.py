"""What is wrong with a policy: every error, each with its place."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.policy.lines import Lines, Path


@dataclass(frozen=True, slots=True)
class PolicyError:
    """One thing that is wrong. ``line`` is 1-based, ``key`` dotted
    (``rule[2].where.tables``, "" for the document)."""

    source: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.source}:{self.line}: {key}{self.message}"


class PolicyErrors(Exception):
    """The policy can't be used. ``errors`` is never empty, in line order."""

    def __init__(self, errors: list[PolicyError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: (e.line, e.key, e.message)))
        super().__init__("\n".join(map(str, self.errors)))


class Faults:
    """Collects errors while a policy is read, so that all come at once."""

    __slots__ = ("_lines", "_source", "found")

    def __init__(self, source: str, lines: Lines) -> None:
        self._source = source
        self._lines = lines
        self.found: list[PolicyError] = []

    def add(self, path: Path, message: str) -> None:
        self.found.append(PolicyError(self._source, self.line(path), dotted(path), message))

    def line(self, path: Path) -> int:
        return self._lines.of(path)

    def check(self) -> None:
        """Raise ``PolicyErrors`` if anything was found."""
        if self.found:
            raise PolicyErrors(self.found)


def dotted(path: Path) -> str:
    """``("rule", 0, "id")`` as ``rule[0].id``."""
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out
