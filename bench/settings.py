"""How much of everything: quick, all, smoke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

IN_SMOKE = ("direct", "gateway os", "gateway disk", "gateway no masks")


@dataclass(frozen=True, slots=True)
class Settings:
    """``seconds`` per turn where a turn has no size, ``size`` in MB of a COPY,
    ``rows`` of a result, ``idle`` sessions, ``clients`` of pgbench, ``scale`` of its
    data, ``git_sizes`` in MB of repositories, ``clones`` at once, ``held`` statements,
    ``commands`` on record, ``only`` these contenders ("" for all). As it stands it
    is what ``make bench`` runs."""

    rounds: int = 3
    seconds: int = 1
    size: int = 50
    rows: int = 50_000
    idle: tuple[int, ...] = (500,)
    clients: tuple[int, ...] = (1, 32)
    scale: int = 10
    git_sizes: tuple[int, ...] = (10,)
    clones: int = 20
    held: int = 200
    commands: int = 50_000
    minutes: float = 9.0
    """Rounds are dropped rather than to take longer; 0 for no limit."""
    only: tuple[str, ...] = ()
    whole: bool = False
    smoke: bool = False

    @classmethod
    def of_all(cls) -> Settings:
        """What issue and README promise numbers of: for a machine of its own, for hours."""
        return cls(
            rounds=5,
            seconds=3,
            size=500,
            rows=200_000,
            idle=(1000, 5000),
            clients=(1, 8, 32, 128),
            git_sizes=(1, 500),
            clones=100,
            held=1000,
            commands=1_000_000,
            minutes=0,
            whole=True,
        )

    @classmethod
    def of_smoke(cls) -> Settings:
        """The least of everything: for correctness, not for time."""
        return cls(
            rounds=1,
            seconds=1,
            size=2,
            rows=2000,
            idle=(10,),
            clients=(2,),
            scale=1,
            git_sizes=(2,),
            clones=4,
            held=10,
            commands=400,
            minutes=0,
            smoke=True,
        )

    def as_json(self) -> dict[str, object]:
        """``sessions`` and ``git_size`` are the largest of ``idle`` and ``git_sizes``."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {"sessions": max(self.idle), "git_size": max(self.git_sizes)}

    def among(self, contenders: Sequence[str], briefly: Sequence[str]) -> list[str]:
        """Who of ``contenders`` runs: those asked for; else all, but where time is
        short ``briefly`` (all where that is empty). A smoke test runs each contender
        in one scenario, and elsewhere direct and every gateway that is the product."""
        if self.only:
            return [name for name in contenders if name in self.only]
        if self.whole or not briefly:
            return list(contenders)
        if self.smoke:
            return [name for name in contenders if name in IN_SMOKE]
        return [name for name in contenders if name in briefly]
