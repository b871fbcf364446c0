"""Errors of the recorder. Their text never quotes recorded bytes."""

from __future__ import annotations


class RecorderError(Exception):
    """What had to be written could not be written.

    After it the journal takes nothing more: the relay ends its sessions and
    refuses new ones, because bytes that are not on record must not move.
    """


class FormatError(Exception):
    """A file is not what FORMAT.md says.

    ``offset`` is the byte in the file at which it stops being so, ``torn``
    True when the file merely ends too early there. ``part`` is the number of
    the part whose file it is, where a session has several.
    """

    def __init__(self, reason: str, offset: int, *, torn: bool = False) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset
        self.torn = torn
        self.part = 0

    def __str__(self) -> str:
        return f"{self.reason} (byte {self.offset}{f' of part {self.part}' if self.part else ''})"


class ContradictionError(FormatError):
    """Every checksum holds, and yet the parts of a file do not belong
    together: somebody wrote it so."""


class MissingKeyError(Exception):
    """Bytes are sealed or withheld, and no key that was given opens them."""


class UnknownSessionError(Exception):
    """No session, or more than one, goes by that name."""
