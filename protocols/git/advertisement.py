"""What a server says first (gitprotocol-pack(5), "Reference Discovery";
gitprotocol-v2(5), "Capability Advertisement"), read and stripped line by line.

The first line tells which it is: ``version 2``, ``version 1``, or a ref and NUL
and capabilities (v0).  The lines of refs go on as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from protocols.errors import LimitError, WireError
from protocols.git.capabilities import (
    UPLOAD_PACK,
    V2_FEATURES,
    Allowed,
    Offered,
    joined,
    parse,
    strip,
)
from protocols.git.pktline import FLUSH, SPECIAL, content, pkt
from protocols.wire import Side

_OID: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_REF: Final = re.compile(rb"[^\x00-\x20\x7f~:?*\[\\^]+(\^\{\})?")
# ".have" tells of an alternate's tips; it names no ref.
_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]{1,200}")
TIPS: Final = 100_000
"""Refs that are remembered; ``whole`` tells whether there were more."""
LONGEST: Final = 256 << 20
"""Bytes of an advertisement."""


class Advertisement:
    """Reads the lines of one advertisement.

    ``asked`` is the protocol version that the client wants; a server may answer
    with a lower one.  ``add`` are capabilities that every client is to see
    (``no-thin``).  After the flush ``done`` is True, and the rest is set.
    """

    __slots__ = (
        "_add",
        "_allowed",
        "_asked",
        "_first",
        "_length",
        "_listed",
        "_size",
        "done",
        "error",
        "features",
        "offered",
        "peeled",
        "shallow",
        "tips",
        "version",
        "whole",
    )

    def __init__(
        self, asked: int = 0, allowed: Allowed = UPLOAD_PACK, add: Iterable[bytes] = ()
    ) -> None:
        self._asked = asked
        self._allowed = allowed
        self._add = tuple(add)
        self._first = True
        self._listed: list[tuple[bytes, bytes | None]] = []
        self._length = 0
        self._size = 0
        self.version = -1
        """0, 1 or 2 once the first line is read."""
        self.done = False
        self.error = b""
        """What an ERR line says; it is the last line, and given back as it is:
        the caller masks it."""
        self.offered = Offered(allowed, ())
        """What the client was told. In v2, ``agent`` and ``object-format``."""
        self.features: dict[bytes, frozenset[bytes]] = {}
        """v2: the commands that were told of, with their features."""
        self.tips: dict[bytes, bytes] = {}
        """Ref to object id, as bytes. v0 and v1."""
        self.peeled: dict[bytes, bytes] = {}
        """Annotated tag to what it stands for."""
        self.shallow = 0
        """``shallow`` lines: how many commits of the repository lack their parents."""
        self.whole = True

    def line(self, line: bytes) -> bytes:
        """What the client gets for ``line`` (a whole pkt-line): the same object when
        nothing changes, b"" for nothing. Raises WireError of the upstream."""
        if self.done:
            raise WireError(Side.UPSTREAM, "speaks on behind its advertisement")
        self._size += len(line)
        if self._size > LONGEST:
            raise LimitError(Side.UPSTREAM, "an advertisement longer than there may be")
        if line == FLUSH:
            return self._end(line)
        if line in SPECIAL:
            raise WireError(Side.UPSTREAM, "an advertisement with a line that can't stand in it")
        if line.startswith(b"ERR ", 4):
            self.error = content(line)[4:] or b"no reason given"
            self.done = True
            return line
        if self.version < 0:
            said = content(line)
            if said in (b"version 1", b"version 2"):
                self.version = said[-1] - 48
                if self.version > self._asked:
                    raise WireError(Side.UPSTREAM, "a protocol version that nobody asked for")
                return line
            self.version = 0
        return self._capability(line) if self.version == 2 else self._ref(line)

    def _end(self, line: bytes) -> bytes:
        self.done = True
        self.version = max(self.version, 0)
        if self.version == 2:
            self.offered = Offered(self._allowed, self._listed)
        return line

    def _ref(self, line: bytes) -> bytes:
        said = content(line)
        out = line
        if self._first:
            self._first = False
            said, nul, raw = said.partition(b"\0")
            if nul:
                listed = strip(raw, self._allowed, self._add)
                self.offered = Offered(self._allowed, listed)
                rewritten = pkt(said + b"\0" + joined(listed) + line[4 + len(said + nul + raw) :])
                if rewritten != line:
                    out = rewritten
            self._length = self.offered.oid_length
        oid, space, name = said.partition(b" ")
        if oid == b"shallow":
            oid, name = name, b".have"
            self.shallow += 1
        if len(oid) != self._length or not space or _OID.fullmatch(oid) is None:
            raise WireError(Side.UPSTREAM, "a ref without an object id")
        if name in (b".have", b"capabilities^{}"):
            return out
        found = _REF.fullmatch(name)
        if found is None:
            raise WireError(Side.UPSTREAM, "a ref with a name that can't be")
        if found[1]:
            if name[:-3] in self.tips:
                self.peeled[name[:-3]] = oid
        elif len(self.tips) < TIPS:
            self.tips[name] = oid
        else:
            self.whole = False
        return out

    def _capability(self, line: bytes) -> bytes:
        said = content(line)
        name, _equals, value = said.partition(b"=")
        features = V2_FEATURES.get(name)
        if features is not None:
            kept = [n for n, v in parse(Side.UPSTREAM, value) if v is None and n in features]
            self.features[name] = frozenset(kept)
            out = name + b"=" + b" ".join(kept) if kept else name
        elif name == b"object-format" or (name == b"agent" and _PRINTABLE.fullmatch(value)):
            if name == b"object-format" and value not in (b"sha1", b"sha256"):
                raise WireError(Side.UPSTREAM, "an object format that nobody knows")
            self._listed.append((name, value))
            out = said
        else:
            return b""
        return line if out == said else pkt(out + line[4 + len(said) :])
