"""The loops over rows in C where they were built (``native``), and where a run of frames ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from protocols.compiled import part
from protocols.postgres import rowloop

native: Final[Any] = part("protocols.postgres._rowloop")
_masks: Final[Any] = part("protocols._masks")
if native is not None and _masks is not None:
    native.accept(_masks.TYPE)

run_end: Callable[[bytes, int, int, int], int] = native.run_end if native else rowloop.run_end
