"""``python -m bench.unrecorded serve -c FILE``: a gateway that writes nothing down.

No such mode is in the product: a gateway that can't record serves nobody. This
one is for the bench alone, where it shows what recording costs: everything else
runs as it always does (the relay still tells its log what moves), and the log
throws it away before it is packed, so that packing, checksums, writing, chaining,
cutting Logs and the ledger's leaves all fall out. What the inner loop carries
(``gateway.seat``) is packed and checked all the same, and written to /dev/null.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway import cli, worker
from gateway.config import Config
from gateway.world import World
from recorder.journal import Ground
from recorder.session_log import Lent


class Forgetful:
    """Takes a session's log's calls, and keeps nothing."""

    era = 0

    def __init__(self, session: object, start: int) -> None:
        self.session = str(session)
        self.number = 1
        self.ended = False
        self._start = start

    def spans(self, spans: Sequence[object]) -> None:
        pass

    def event(self, kind: str, fields: Mapping[str, object]) -> None:
        pass

    def command(self, *given: Any, **named: Any) -> None:
        pass

    def end(self, status: str, reason: str) -> None:
        self.ended = True

    def shape_of(self, *key: object) -> int:
        return 0

    def lend(self, *arrived: int) -> Lent:
        return Lent(self._start, 1, (arrived[0], arrived[1]), (0, 0), 1 << 62, 1 << 62, 1)

    def take_back(self, *given: object) -> None:
        pass


class Nowhere:
    """Takes a journal's calls, and writes nothing."""

    failed = ""
    durable = written = 0
    faults: tuple[str, ...] = ()
    dirty: tuple[object, ...] = ()

    def __init__(self) -> None:
        self.open_sessions: dict[int, object] = {}
        self._null = os.open(os.devnull, os.O_WRONLY)

    def open(self, header: Mapping[str, object], **_: object) -> Forgetful:
        return Forgetful(header["session"], time.monotonic_ns())

    def flush(self) -> None:
        pass

    def ground(self) -> Ground:
        return Ground(self._null, 0, 0, 0, 1, 1 << 62)

    def wrote(self, length: int, strangers: Sequence[object], fault: int) -> None:
        pass

    def recall(self) -> None:
        pass

    def sync(self) -> int:
        return 0

    def state(self) -> str:
        return "ok"

    def relieve(self) -> None:
        pass

    def has_durable_start(self, log: object) -> bool:
        return False  # there is nothing that a ledger could vouch for

    def close(self) -> None:
        os.close(self._null)


def nowhere(config: Config, post: worker.Post, world: World) -> Nowhere:
    """In place of ``open_journal``."""
    print("bench: this gateway records nothing; it is no product", file=sys.stderr, flush=True)
    return Nowhere()


if __name__ == "__main__":
    worker.open_journal = nowhere  # type: ignore[assignment]
    raise SystemExit(cli.main())
