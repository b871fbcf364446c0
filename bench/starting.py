"""Contenders are started, and ended, side by side: each takes a second of waiting
and importing, and nothing is measured meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol as Interface
from typing import TypeVar

from bench.contenders import Missing
from bench.figures import BenchFault, Check

AT_ONCE = 4


class Startable(Interface):
    """A contender of any protocol."""

    @property
    def name(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> list[Check]: ...


One = TypeVar("One", bound=Startable)


@contextlib.contextmanager
def started(
    contenders: Sequence[One], checks: list[Check], skipped: dict[str, str]
) -> Iterator[dict[str, One]]:
    """Run them. Afterwards ``checks`` has what is to be said about their work,
    ``skipped`` whom the machine hasn't or who did not start. All that was started
    is ended, whatever is raised meanwhile."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        coming = [(each, pool.submit(each.start)) for each in contenders]
        try:
            wait(future for _, future in coming)
            for contender, future in coming:
                error = future.exception()
                if isinstance(error, Missing):
                    skipped[contender.name] = str(error)
                elif isinstance(error, BenchFault):
                    checks.append(Check(f"{contender.name} starts", False, str(error)))
                    skipped[contender.name] = "it did not start"
                elif error is not None:
                    raise error
            yield {each.name: each for each, future in coming if future.exception() is None}
        finally:
            # Ctrl-C may come while some still start: they have to be ended, too.
            wait(future for _, future in coming)
            there = [each for each, future in coming if future.exception() is None]
            ending = [pool.submit(each.stop) for each in there]
            wait(ending)
            for ended in ending:
                checks += ended.result()
