"""Bytes of one side that are not yet cut into messages, outside the hot path."""

from __future__ import annotations

from protocols.errors import LimitError, WireError
from protocols.wire import Side


class Intake:
    """A bounded buffer that yields whole packets and messages.

    Each call looks only at the header, so a peer that sends one byte at a time
    costs constant work per byte.
    """

    __slots__ = ("_buffer", "_side")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def push(self, data: bytes) -> None:
        self._buffer += data

    def peek(self) -> int:
        """The first byte, -1 when there is none."""
        return self._buffer[0] if self._buffer else -1

    def cut(self, size: int) -> bytes:
        """The first ``size`` bytes, which must be there."""
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        return raw

    def drain(self) -> bytes:
        """All of it."""
        return self.cut(len(self._buffer))

    def packet(self, limit: int) -> bytes | None:
        """The next packet without a type byte (a startup packet): raw, whole.

        None until it is all here. WireError for a length below 8 (the field
        itself and the code), LimitError above ``limit`` bytes.
        """
        return self._whole(0, 8, limit)

    def message(self, limit: int, kinds: bytes = b"") -> bytes | None:
        """The next message with a type byte: raw, whole. None until then.

        ``kinds`` are the type bytes that may stand here, b"" for any.
        WireError for another one or a length below 4, LimitError above
        ``limit`` bytes of length field.
        """
        if not self._buffer:
            return None
        if kinds and self._buffer[0] not in kinds:
            raise WireError(self._side, "a message that may not stand here", "08P01")
        return self._whole(1, 4, limit)

    def _whole(self, start: int, least: int, limit: int) -> bytes | None:
        if len(self._buffer) < start + 4:
            return None
        # Unsigned on purpose: a negative length is just far above the limit.
        length = int.from_bytes(self._buffer[start : start + 4], "big")
        if length < least:
            raise WireError(self._side, "a message length that is too small", "08P01")
        if length > limit:
            raise LimitError(self._side, f"a message of more than {limit} bytes here", "08P01")
        if len(self._buffer) < start + length:
            return None
        return self.cut(start + length)
