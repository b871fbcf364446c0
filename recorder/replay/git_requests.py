"""What a client says to one service of git's, cut into requests (gitprotocol-pack(5),
gitprotocol-v2(5)). The same cut for what is on record and for what comes now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from protocols.errors import LimitError, WireError
from protocols.git.pktline import DELIM, FLUSH, V0, V2, Pkts, content
from protocols.git.survey import RefUpdate
from protocols.wire import Side

ROOM: Final = 1 << 20
"""Bytes of one request that a client may always say."""
_EACH: Final = 64
"""What a line costs beside its bytes."""


class Request(NamedTuple):
    """``kind`` is the command of v2, ``want``, ``have``, ``push`` or ``archive``. ``lines`` are
    whole, as they came; ``pack``: a pack follows."""

    kind: str
    lines: tuple[bytes, ...]
    pack: bool = False

    @property
    def size(self) -> int:
        return sum(map(len, self.lines))

    @property
    def parts(self) -> tuple[list[bytes], list[bytes]]:
        """What it asks, and the capabilities that it chose, apart."""
        lines = [content(line) if line not in (FLUSH, DELIM) else b"" for line in self.lines]
        if self.kind not in ("want", "have", "push", "archive"):
            end = self.lines.index(DELIM) if DELIM in self.lines else len(lines) - 1
            return lines[:1] + lines[end:-1], lines[1:end]
        chosen = b""
        for number, line in enumerate(lines):
            if self.kind == "want" and line.startswith(b"want "):
                word, _, rest = line.partition(b" ")
                oid, _, chosen = rest.partition(b" ")
                lines[number] = word + b" " + oid
                break
            if self.kind == "push" and b"\0" in line:
                lines[number], _, chosen = line.partition(b"\0")
                break
        return lines[:-1] if lines[-1:] == [b""] else lines, chosen.split()

    @property
    def updates(self) -> list[RefUpdate]:
        """Of a push: its commands, as far as they can be read."""
        found = []
        for line in self.parts[0]:
            words = line.split(b" ", 2)
            if not line:
                break
            if len(words) == 3 and words[0] != b"shallow":
                old, new = (word.decode("ascii", "backslashreplace") for word in words[:2])
                found.append(RefUpdate(old, new, words[2].decode("utf-8", "surrogateescape")))
        return found

    @property
    def said(self) -> str:
        """It in a few words."""
        asked = self.parts[0]
        if self.kind == "push":
            return "push " + ", ".join(update.ref for update in self.updates[:3])
        counts = [(word, sum(line.startswith(word.encode() + b" ") for line in asked))
                  for word in ("want", "have", "ref-prefix")]  # fmt: skip
        counted = ", ".join(f"{count} {word}" for word, count in counts if count)
        return f"{self.kind} ({counted})" if counted else self.kind


class Requests:
    """Feed it what the client says behind the name of the service. ``limit``: the most bytes
    of a request. WireError, LimitError."""

    def __init__(self, service: str, version: int, limit: int) -> None:
        self._service = service
        self._two = version == 2
        self._pkts = Pkts(Side.CLIENT, V2 if self._two else V0)
        self._limit = limit
        self._lines: list[bytes] = []
        self._cost = 0
        self._stage = 0
        self._done = False
        self._packing = False
        self.bye = False
        """It said that it wants nothing more."""

    @property
    def partial(self) -> bool:
        """The beginning of a request is here."""
        return self._packing or bool(self._lines) or bool(self._pkts.waiting)

    def feed(self, data: bytes) -> Iterator[Request | bytes]:
        """Requests, and behind one with a pack pieces of that."""
        if self._packing:
            if data:
                yield data
            return
        self._pkts.feed(data)
        while not self.bye and (line := self._pkts.next()) is not None:
            if self._done:
                raise WireError(Side.CLIENT, "speaks on behind its last word")
            self._cost += len(line) + _EACH
            if self._cost > self._limit:
                raise LimitError(Side.CLIENT, "a request longer than there may be")
            self._lines.append(line)
            found = self._whole(line)
            if found is None:
                continue
            self._lines, self._cost = [], 0
            yield found
            if found.pack:
                self._packing = True
                if rest := self._pkts.rest():
                    yield rest
                return

    def _whole(self, line: bytes) -> Request | None:
        """The request that ends with ``line``."""
        lines = tuple(self._lines)
        if self._service == "fetch" and not self._two and self._stage:
            self._done = content(line) == b"done"
            return Request("have", lines) if self._done or line == FLUSH else None
        if line != FLUSH:
            return None
        if len(lines) == 1 and not self._stage:
            self.bye = True
            return None
        if self._two:
            verb = content(lines[0])
            if not verb.startswith(b"command="):
                raise WireError(Side.CLIENT, "a request without a command")
            return Request(verb[8:].decode("ascii", "backslashreplace"), lines)
        self._stage += 1
        if self._service == "fetch":
            return Request("want", lines)
        if self._service == "archive":
            self._done = True
            return Request("archive", lines)
        request = Request("push", lines)
        if self._stage == 1 and b"push-options" in request.parts[1]:
            return None
        self._done = True
        return Request("push", lines, any(not update.deletes for update in request.updates))
