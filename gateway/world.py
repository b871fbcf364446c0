"""Time, ids and chance, in one place so that tests can hold them still."""

from __future__ import annotations

import os
import secrets
import threading
import time

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
_LAST = (1 << 128) - 1


def encode_ulid(number: int) -> str:
    """26 characters of Crockford's base 32 for a 128-bit number: 48 bits of
    milliseconds, 80 of chance (github.com/ulid/spec)."""
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


class World:
    """The outside world as this process sees it.

    ``instance`` is a ULID of this process, made anew at each start.
    """

    def __init__(self) -> None:
        self._latest = 0
        self._lock = threading.Lock()
        self.instance = self.ulid()

    def wall(self) -> float:
        """Unix seconds; may jump."""
        return self.wall_ns() / 1e9

    def wall_ns(self) -> int:
        """Unix nanoseconds; may jump."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Nanoseconds of a clock that never goes back; its zero means nothing."""
        return time.monotonic_ns()

    def chance(self, n: int) -> bytes:
        """``n`` random bytes, fit for keys."""
        return secrets.token_bytes(n)

    def ulid(self) -> str:
        """A new id, greater than every earlier one of this World, also within
        a millisecond and when the clock goes back (then it counts on)."""
        fresh = self.wall_ns() // 1_000_000 << _RANDOM_BITS | int.from_bytes(self.chance(10), "big")
        with self._lock:
            # In the same millisecond a step of random size keeps ids hard to
            # guess from one another.
            if fresh >> _RANDOM_BITS <= self._latest >> _RANDOM_BITS:
                fresh = self._latest + 1 + int.from_bytes(self.chance(4), "big")
            self._latest = fresh = min(fresh, _LAST)
        return encode_ulid(fresh)

    def after_fork(self) -> None:
        """Call in a child process, which must not share the parent's ids."""
        self._lock = threading.Lock()
        self._latest = 0
        self.instance = self.ulid()

    @property
    def process(self) -> int:
        return os.getpid()


class FixedWorld(World):
    """A World for tests: time moves only by ``pass_time``, chance is a
    counter's bytes, the same in every run."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self._wall_ns = round(at * 1e9)
        self._mono_ns = 0
        self._count = 0
        super().__init__()

    def wall_ns(self) -> int:
        return self._wall_ns

    def mono_ns(self) -> int:
        return self._mono_ns

    def chance(self, n: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(max(n, 8), "big")[-n:] if n else b""

    def pass_time(self, seconds: float) -> None:
        """Both clocks move on by ``seconds``."""
        self._mono_ns += round(seconds * 1e9)
        self._wall_ns += round(seconds * 1e9)

    def jump(self, seconds: float) -> None:
        """The wall clock alone is set forward or back."""
        self._wall_ns += round(seconds * 1e9)
