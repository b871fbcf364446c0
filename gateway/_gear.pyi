from typing import Any

SOURCES: str

class Ride:
    """See ``_ride.h``."""

    aboard: bool
    def learn(
        self,
        name: bytes,
        fields: bytes | None,
        types: tuple[bytes, ...],
        masked: bool,
        verdict: int,
        shape: int,
        decision: object,
        /,
    ) -> None: ...
    def forget(self) -> None: ...
    def board(
        self,
        rider: object,
        log: object,
        fds: tuple[int, int],
        number: int,
        seq: int,
        arrived: tuple[int, int],
        left: tuple[int, int],
        until: int,
        room: int,
        segment: int,
        watched: tuple[dict[object, object], object, object, object, object],
        /,
    ) -> None: ...
    def leave(
        self,
    ) -> tuple[
        int,
        int,
        int,
        tuple[int, int],
        tuple[int, int],
        int,
        tuple[int, int],
        int,
        bytes,
        bytes,
        int,
        Any,
    ]: ...

class Gear:
    """See ``_gear.c``."""

    touched: int
    rounds: int
    records: int
    def __new__(cls, epoll: int, needles: tuple[bytes, ...], /) -> Gear: ...
    def round(self, wait: int, /) -> list[tuple[int, int, bytes | OSError | None]] | None: ...
    def block(
        self, end: int, base: int, seed: int, segment: int, /
    ) -> tuple[bytes, list[Any] | None]: ...
    def release(self) -> list[tuple[Any, int, bytes, int]] | None: ...
    def undo(self) -> list[Any]: ...
    def aboard(self) -> list[Any]: ...
    def ride(self, session: int, start: int, limit: int, /) -> Ride: ...
