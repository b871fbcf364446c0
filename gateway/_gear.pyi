from typing import Any

SOURCES: str

class Ride:
    """See ``_ride.h``."""

    aboard: bool
    def learn(
        self,
        name: bytes,
        prelude: bytes | None,
        subject: object,
        fields: bytes | None,
        types: tuple[bytes, ...],
        masked: bool,
        verdict: int,
        shape: int,
        prepared: int,
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
        current: object,
        /,
    ) -> None: ...
    def leave(self) -> tuple[tuple[Any, ...], int, Any, tuple[Any, ...]]:
        """What ``SessionLog.take_back`` takes, how often something moved, the decision of the
        last command whose results are looked at, what ``Carried`` has."""

class Gear:
    """See ``_gear.c``."""

    touched: int
    rounds: int
    records: int
    def __new__(cls, epoll: int, needles: tuple[bytes, ...], /) -> Gear: ...
    def drive(
        self, until: int, nap: int, ground: tuple[int, ...], /
    ) -> tuple[
        list[tuple[int, int, bytes | OSError | None]] | None,
        list[tuple[Any, int, bytes, int]] | None,
        list[Any] | None,
        int,
        int,
        bool,
    ]:
        """Until ``until`` (monotonic, ns), waiting ``nap`` ms at most in between. What is left
        to do, what the kernel did not take, logs that are new in the segment, how many bytes
        were written, what went wrong with the last ones, whether anything moved."""

    def undo(self) -> list[Any]: ...
    def aboard(self) -> list[Any]: ...
    def ride(self, session: int, start: int, limit: int, /) -> Ride: ...
