"""Are the refs of a push still where they were? Asked again before a held push goes on."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final

from protocols.contract import Answer, Question
from protocols.errors import WireError
from protocols.git.fetch_client import FetchClient, FetchFailed
from protocols.git.survey import RefUpdate
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span

_REFS_MOST: Final = 200_000


class Tips:
    """A Talk with ``git-upload-pack`` (v2, or what it shows by itself in v0 and v1).
    Its result: (ref, expected, found) of every ref of ``updates`` that is elsewhere; all
    zeros for a ref that is not there.  ``error`` when the upstream did not tell."""

    def __init__(self, updates: Iterable[RefUpdate], algorithm: str = "sha1") -> None:
        self._updates = tuple(updates)
        self._outbox = Outbox()
        self._client = FetchClient(self._send, algorithm, 0)
        self._result: tuple[tuple[str, str, str], ...] | None = None
        self._error = ""
        self._script = self._run()
        next(self._script)

    @property
    def closing(self) -> bool:
        return self._result is not None or bool(self._error)

    @property
    def result(self) -> tuple[tuple[str, str, str], ...] | None:
        return self._result

    @property
    def error(self) -> str:
        return self._error

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def answer(self, number: int, answer: Answer) -> list[Question]:
        raise KeyError(number)

    def receive(self, side: Side, data: bytes) -> list[Question]:
        """Asks nothing."""
        if data:
            self._outbox.take(side, data)
        if self.closing:
            return []
        self._client.pkts.feed(data)
        while not self.closing:
            try:
                line = self._client.pkts.next()
            except WireError as error:
                self._error = str(error)
                break
            if line is None and data:
                break
            self._proceed(line)
        return []

    def _send(self, raw: bytes) -> None:
        self._outbox.send(Side.UPSTREAM, raw, Mark.OURS)

    def _proceed(self, line: bytes | None) -> None:
        try:
            self._script.send(line)
        except StopIteration as end:
            self._result = end.value
        except FetchFailed as error:
            self._error = str(error)

    def _run(self) -> Generator[None, bytes | None, tuple[tuple[str, str, str], ...]]:
        refs = yield from self._client.greet_or_list()
        expected = {e.ref.encode("utf-8", "surrogateescape"): e for e in self._updates}
        if refs is None:
            refs = yield from self._client.refs(expected, _REFS_MOST)
        if any(ref in self._client.symbolic for ref in expected):
            raise FetchFailed("a ref has become a symbolic one")
        self._client.bye()
        return tuple(
            (each.ref, each.old, found)
            for ref, each in expected.items()
            if (found := refs.get(ref, "0" * len(each.old))) != each.old
        )
