"""``gateway``, which says at its end how many records its inner loop wrote."""

import sys

from gateway import cli
from gateway.reactor import Reactor

_close = Reactor.close


def _counted(reactor: Reactor) -> None:
    records = reactor.gear.records if reactor.gear is not None else 0
    print(f"gateway: {records} records by the inner loop", file=sys.stderr, flush=True)
    _close(reactor)


if __name__ == "__main__":
    Reactor.close = _counted  # type: ignore[method-assign]
    raise SystemExit(cli.main())
