"""What a service of git is to its carrier: a small conversation over two byte streams.

``CLIENT`` bytes are what the service's standard input gets, ``UPSTREAM`` bytes
its standard output.  A carrier (an SSH channel, later an HTTP body) feeds both
and turns the inner spans into its own.  Three habits are required here that a
conversation is free of:

- every byte is told of by ``moves`` right after the ``receive`` that brought it
  (PASS, or TAKE and a later FORWARD), so ``unforwarded`` is always zero;
- the end of a stream is b"", and may come on one side long before the other;
- a lane that has more spooled bytes to forward than it likes to hold in memory
  says so with ``more``, and gives the next piece at each ``moves``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

from protocols.contract import Answer, Question, Refuse, Screen, Spool
from protocols.wire import Side, Span


@dataclass(frozen=True, slots=True)
class LaneOpening:
    """What a lane is born with. ``number()`` gives the next question's number;
    ``repository`` is the canonical name (``org/repo``); ``version`` is what the client
    asked for (0, 1, 2); ``own`` finds the gateway's own secrets; ``limit`` bounds one
    request that is held in memory, in bytes. ``settings`` are the target's."""

    session: str
    repository: str
    version: int
    number: Callable[[], int]
    spool: Callable[[int], Spool]
    own: Screen | None = None
    limit: int = 1 << 20
    max_pack: int = 1 << 30
    push_options: tuple[str, ...] = ()


class Lane(Interface):
    """One service's exchange."""

    @property
    def more(self) -> bool: ...

    def receive(self, side: Side, data: bytes) -> list[Question]: ...

    def answer(self, number: int, answer: Answer) -> list[Question]: ...

    def moves(self) -> list[Span]: ...

    def say(self, number: int, text: str) -> None:
        """As ``Conversation.say``; a lane without a place for it keeps silent and
        ``mute`` is True: the carrier may have another way."""

    @property
    def mute(self) -> bool: ...

    def withdraw(self, number: int) -> None: ...

    def dismiss(self, refuse: Refuse) -> None: ...

    @property
    def finished(self) -> int | None:
        """The exit status with which the gateway itself ends the service (after a
        refusal), None while the upstream's own counts. Once set, nothing more goes
        upstream and the client's stream ends after what ``moves`` says."""

    @property
    def held(self) -> tuple[int, int]:
        """Bytes in memory behind questions, by side."""

    @property
    def at_rest(self) -> bool: ...

    @property
    def owed(self) -> bool: ...
