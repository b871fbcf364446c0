"""Requests that come again, and may be carried by somebody who only compares bytes."""

from __future__ import annotations

from typing import NamedTuple
from typing import Protocol as Interface

from protocols.contract import Conversation, Part


class Refrain(NamedTuple):
    """A request that was asked about, and that may come again with other parameters:
    what was answered then holds until ``epoch`` is another.

    ``name`` is what the request calls its command by, ``text`` and ``parts`` are the
    Command's, ``types`` says how a text of its nth parameter begins where that isn't
    in text form.  ``masked``: its results are looked at, and were found to need
    nothing hidden while they are described by ``fields`` (None: while there is none).
    """

    name: bytes
    text: str
    parts: tuple[Part, ...]
    types: tuple[bytes, ...]
    masked: bool
    fields: bytes | None
    epoch: tuple[object, ...]


class Recurring(Conversation, Interface):
    """A conversation whose common requests can be carried by somebody who only knows
    that they are the same as before (``gateway.seat``)."""

    def refrain(self) -> Refrain | None:
        """The last request, where it is one, was all that came, and is over; None
        where the conversation is anywhere but between two requests."""

    @property
    def watched(self) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
        """A dict, and the values that two of its keys have (None: they are absent).
        With others every refrain is over at once."""

    @property
    def position(self) -> tuple[int, int, int]:
        """The number of the next question, and how much has arrived from each side."""

    def catch_up(
        self, done: int, number: int, arrived: tuple[int, int], request: bytes, masked: int
    ) -> None:
        """Others have carried ``done`` requests to their end, and ``request`` after
        them, which the upstream still owes a reply ("" for none). ``number`` and
        ``arrived`` are as in ``position``, all of that included; ``masked`` is the number of the
        last command among them whose results are looked at, 0 for none."""
