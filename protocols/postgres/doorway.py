"""TLS or not towards the upstream, as libpq's ``sslmode`` says."""

from __future__ import annotations

from collections.abc import Iterator

from protocols.contract import Answer, Question, Refuse, Upgrade, Upgraded
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.postgres.messages import SSL_REQUEST
from protocols.wire import Mark, Side

MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_OPTIONAL = frozenset({"allow", "prefer"})


class Doorway:
    """SSLRequest, its one-byte answer, the upgrade; or nothing of these.

    ``open`` is True once the startup packet may be sent; ``refusal`` is set
    when it never may; ``rest`` is what came behind a plain no (not told to the
    outbox yet). ``allow`` counts as ``prefer``: TLS is tried first, since
    trying plain first would only show the server the plain login.
    """

    __slots__ = (
        "_asked",
        "_mode",
        "_numbers",
        "_outbox",
        "_pending",
        "binding",
        "open",
        "refusal",
        "rest",
    )

    def __init__(self, mode: str, outbox: Outbox, numbers: Iterator[int]) -> None:
        if mode not in MODES:
            raise ValueError(f"unknown TLS mode {mode!r}")
        self._mode = mode
        self._outbox = outbox
        self._numbers = numbers
        self._asked = False
        self._pending = 0
        self.open = False
        self.refusal: Refuse | None = None
        self.binding: bytes | None = None
        self.rest = b""

    @property
    def encrypted(self) -> bool:
        return self.open and self._asked

    def start(self) -> None:
        if self._mode == "disable":
            self.open = True
        else:
            self._outbox.send(Side.UPSTREAM, SSL_REQUEST, Mark.OURS)

    def receive(self, data: bytes) -> list[Question]:
        """The server's bytes until ``open``. It may say one byte, no more: a
        byte behind it was not said under TLS (CVE-2021-23222)."""
        if self._asked:
            self._outbox.take(Side.UPSTREAM, data)
            raise WireError(Side.UPSTREAM, "bytes before TLS was up", "08P01")
        self._outbox.take(Side.UPSTREAM, data[:1] if data[:1] == b"N" else data)
        if data[:1] == b"S":
            self._asked = True
            if len(data) > 1:
                raise WireError(Side.UPSTREAM, "bytes before TLS was up", "08P01")
            self._pending = next(self._numbers)
            return [Upgrade(self._pending, Side.UPSTREAM)]
        if data[:1] == b"N" and self._mode in _OPTIONAL:
            self.open = True
            self.rest = data[1:]
        elif data[:1] == b"N":
            self._outbox.take(Side.UPSTREAM, data[1:])
            self.refusal = Refuse(
                f"the upstream has no TLS and the target asks for tls = {self._mode!r}",
                kind="upstream",
            )
        elif data[:1] == b"E":
            # Its text is not shown: nobody has proven who wrote it (CVE-2024-10977).
            self.refusal = Refuse("the upstream refused to talk about TLS", kind="upstream")
        else:
            raise WireError(Side.UPSTREAM, "an unknown answer to SSLRequest", "08P01")
        return []

    def answer(self, number: int, answer: Answer) -> None:
        if not self._pending or number != self._pending:
            raise KeyError(number)
        if isinstance(answer, Upgraded):
            self.binding = answer.binding
            self.open = True
        elif isinstance(answer, Refuse):
            self.refusal = answer
        else:
            raise TypeError(f"{type(answer).__name__} does not answer an Upgrade")
        self._pending = 0
