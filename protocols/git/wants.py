"""What a client asks ``git-upload-pack`` for: the lines of a request, read strictly.

v0 and v1: ``upload-request`` of gitprotocol-pack(5); v2: the arguments of ``fetch``
and ``ls-refs`` in gitprotocol-v2(5).  A line that isn't known is an error of the
client's; so is one that was not offered to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from protocols.contract import Command, Part, Phase
from protocols.errors import WireError
from protocols.git.names import is_oid, is_ref, text
from protocols.git.words import ENDLESS, NEUTRAL, reads
from protocols.wire import Side

SHOWN: Final = 20
"""Wants that a command's text names; the rest are in its context."""
NAMES: Final = 50
"""Names of one object that count as wanted; more say nothing new."""

_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_FILTER: Final = re.compile(rb"[\x21-\x7e]{1,2048}")
_FLAGS: Final = frozenset(
    (b"thin-pack", b"no-progress", b"include-tag", b"ofs-delta", b"deepen-relative")
)


def _wrong(what: str) -> WireError:
    return WireError(Side.CLIENT, what)


class Wants:
    """One request as it is read, line by line. ``can`` says whether a feature
    (``shallow``, ``filter``, ``ref-in-want``...) was offered."""

    __slots__ = ("_can", "_length", "bounds", "done", "filter", "oids", "refs", "shallow", "waits")

    def __init__(self, length: int, can: Callable[[bytes], bool]) -> None:
        self._length = length
        self._can = can
        self.oids: dict[bytes, None] = {}
        self.refs: dict[bytes, None] = {}
        """Names that are wanted (``want-ref``)."""
        self.bounds: list[bytes] = []
        """``deepen`` lines, as they are."""
        self.filter = b""
        self.shallow = 0
        self.done = False
        self.waits = False
        """``wait-for-done``: no pack before the client asks for it."""

    def __bool__(self) -> bool:
        return bool(self.oids or self.refs)

    @property
    def key(self) -> tuple[bytes, ...]:
        """What bounds the wants: another key is another request."""
        return (*self.bounds, self.filter)

    @property
    def depth(self) -> int:
        for line in self.bounds:
            if line.startswith(b"deepen "):
                return int(line[7:])
        return ENDLESS

    def want(self, oid: bytes) -> None:
        self.oids[self._oid(oid)] = None

    def bound(self, said: bytes) -> bool:
        """Take in ``shallow``, ``deepen``... and ``filter``, which all versions have
        in common; False for another line. Raises WireError."""
        word, _, value = said.partition(b" ")
        if word == b"shallow":
            self._offered(b"shallow")
            self._oid(value)
            self.shallow += 1
        elif word in (b"deepen", b"deepen-since"):
            self._offered(b"shallow" if word == b"deepen" else word)
            if _NUMBER.fullmatch(value) is None or int(value) == 0:
                raise _wrong("a depth that is no number")
            self._once(said, word)
        elif word == b"deepen-not":
            self._offered(word)
            if not is_ref(value, one_level=True):
                raise _wrong("a depth that ends at what is no ref")
            self.bounds.append(said)
        elif word == b"filter":
            self._offered(word)
            if self.filter or _FILTER.fullmatch(value) is None:
                raise _wrong("a filter that is none")
            self.filter = value
        else:
            return False
        return True

    def argument(self, said: bytes) -> None:
        """A line of the arguments of a v2 ``fetch``. Raises WireError."""
        word, space, value = said.partition(b" ")
        if said in _FLAGS:
            if said == b"deepen-relative":
                self._offered(b"shallow")
        elif word == b"want" and space:
            self.want(value)
        elif word == b"have" and space:
            self._oid(value)
        elif word == b"want-ref" and space:
            self._offered(b"ref-in-want")
            if not is_ref(value, one_level=True):
                raise _wrong("wants a ref with a name that can't be")
            self.refs[value] = None
        elif said == b"done":
            self.done = True
        elif said == b"wait-for-done":
            self._offered(said)
            self.waits = True
        elif not self.bound(said):
            raise _wrong("a line that has no place in a fetch")

    def have(self, said: bytes) -> None:
        """A line of the negotiation in v0 and v1. Raises WireError."""
        if said == b"done":
            self.done = True
        elif said.startswith(b"have "):
            self._oid(said[5:])
        else:
            raise _wrong("a line that has no place in a negotiation")

    def command(
        self,
        number: int,
        repository: str,
        version: int,
        names: Callable[[bytes], Sequence[bytes]],
    ) -> Command:
        """The question about this request. ``names`` tells which refs point at an
        object, () where none is known."""
        known = [(oid, [text(n) for n in names(oid)]) for oid in self.oids]
        wants = [text(name) for name in self.refs]
        context = [f"want-ref {name}" for name in wants]
        shown = list(wants)
        for oid, called in known:
            hexa = oid.decode("ascii")
            wants += called[:NAMES] or [hexa]
            shown += called[:1] or [hexa]
            context.append(" ".join((f"want {hexa}", *called[:NAMES])))
        context += map(text, self.bounds)
        how = [text(line).replace("deepen", "depth", 1) for line in self.bounds]
        if self.filter:
            how.append(f"filter {text(self.filter)}")
            context.append(how[-1])
        more = len(shown) - SHOWN
        line = f"fetch {repository}: {', '.join(shown[:SHOWN]) or 'nothing, only compare'}"
        line += f" and {more} more" if more > 0 else ""
        line += f" ({', '.join(how)})" if how else ""
        facts = {
            **NEUTRAL,
            "repo": repository,
            "service": "fetch",
            "wants": tuple(dict.fromkeys(wants)),
            "depth": self.depth,
            "filter": text(self.filter),
            "version": version,
        }
        part = Part("git.fetch", reads(repository), facts, complete=True)
        return Command(number, Phase.RUN, line, (part,), context=tuple(context))

    def _oid(self, oid: bytes) -> bytes:
        if not is_oid(oid, self._length):
            raise _wrong("names no object of this repository's kind")
        return oid

    def _offered(self, feature: bytes) -> None:
        if not self._can(feature):
            raise _wrong("asks for what was not offered")

    def _once(self, said: bytes, word: bytes) -> None:
        if any(line.startswith(word + b" ") for line in self.bounds):
            raise _wrong("two depths in one request")
        self.bounds.append(said)


def check_listing(said: bytes, features: Mapping[bytes, frozenset[bytes]]) -> None:
    """A line of the arguments of ``ls-refs``. Raises WireError."""
    if said in (b"peel", b"symrefs"):
        return
    if said == b"unborn" and b"unborn" in features.get(b"ls-refs", ()):
        return
    # A prefix is any part of a name, even one that ends in a slash.
    if said.startswith(b"ref-prefix ") and b"\0" not in said and len(said) < 4096:
        return
    raise _wrong("a line that has no place in a listing of refs")


class Names:
    """Which refs point at an object, of what the client was shown."""

    __slots__ = ("_by_oid", "_count")

    LARGEST: Final = 100_000

    def __init__(self) -> None:
        self._by_oid: dict[bytes, tuple[bytes, ...]] = {}
        self._count = 0

    def learn(self, ref: bytes, oid: bytes) -> None:
        """``ref`` is at ``oid``. Past ``LARGEST`` wants are told by object id."""
        had = self._by_oid.get(oid, ())
        if self._count < self.LARGEST and len(had) < NAMES and ref not in had:
            self._by_oid[oid] = (*had, ref)
            self._count += 1

    def of(self, oid: bytes) -> tuple[bytes, ...]:
        """Full names first; ``HEAD`` and its like only where there is no other."""
        known = self._by_oid.get(oid, ())
        return tuple(ref for ref in known if b"/" in ref) or known
