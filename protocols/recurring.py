"""Requests that come again, and may be carried by somebody who only compares bytes."""

from __future__ import annotations

from typing import NamedTuple
from typing import Protocol as Interface

from protocols.contract import Conversation, Part


class Refrain(NamedTuple):
    """A request that was asked about, and that may come again with other parameters:
    what was answered then holds until ``epoch`` is another.

    ``name`` is what the request calls its command by, ``prelude`` the bytes that, right
    before it, make the name mean that command anew, which are asked about as well (b"":
    there are none).  ``text`` and ``parts`` are the Command's, ``types`` says how a text
    of its nth parameter begins where that isn't in text form.  ``masked``: its results
    are looked at, and were found to need nothing hidden while they are described by
    ``fields`` (None: while there is none).  ``subject`` is the conversation's own, for
    ``Carried``; ``current`` is that of the command that preludes replace.
    """

    name: bytes
    prelude: bytes
    subject: object
    current: object
    text: str
    parts: tuple[Part, ...]
    types: tuple[bytes, ...]
    masked: bool
    fields: bytes | None
    epoch: tuple[object, ...]


class Rows:
    """What was said of the rows of a reply."""

    UNTOLD = 0
    NONE = 1
    """There is no description, since it has none."""
    DESCRIBED = 2
    CAME = 3
    """Described, and there was one at least."""


class Carried(NamedTuple):
    """What others did for a conversation: ``done`` requests, replied to.

    ``number`` and ``arrived`` are as in ``Recurring.position``, all of it included;
    ``masked`` is the number of the last command whose results are looked at, 0 for none.
    ``status`` is what the last reply said of the transaction (a byte value), 0 without one;
    ``rested``: some reply said that none is open; ``veiled``: since the last of those, results
    were looked at.

    ``renewed`` is the subject of the last prelude that was replied to (None: none was),
    which came after ``renewed_after`` of ``done``.

    ``request`` is the last one, as it came, b"" where it is not known any more; ``subject``
    is whose it is. ``owed``: it is beyond ``done``, and the upstream has yet to reply.
    ``rows`` is one of ``Rows``, for the last of ``done``, and of no use where ``owed``;
    ``fields`` is what its refrain had, ``suspended``: it said that there may be more.
    """

    done: int
    number: int
    arrived: tuple[int, int]
    masked: int
    status: int
    rested: bool
    veiled: bool
    renewed: object
    renewed_after: int
    request: bytes
    subject: object
    owed: bool
    rows: int
    fields: bytes | None
    suspended: bool


class Recurring(Conversation, Interface):
    """A conversation whose common requests can be carried by somebody who only knows
    that they are the same as before (``gateway.seat``)."""

    def refrain(self) -> Refrain | None:
        """The last request, where it is one, was all that came, and is over; None
        where the conversation is anywhere but between two requests."""

    def standing(self) -> tuple[tuple[object, ...], object] | None:
        """The ``epoch`` and ``current`` that a refrain would have now; None where the
        conversation is anywhere but between two requests."""

    @property
    def watched(self) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
        """A dict, and the values that two of its keys have (None: they are absent).
        With others every refrain is over at once."""

    @property
    def position(self) -> tuple[int, int, int]:
        """The number of the next question, and how much has arrived from each side."""

    def catch_up(self, carried: Carried) -> None:
        """Others have carried requests since ``refrain``, which is known by what it gave."""
