"""Capabilities (gitprotocol-capabilities(5), gitprotocol-v2(5)): an allow-list.

What is not on the list is taken out of the upstream's advertisement, so it is
never negotiated: the gateway reads all that can be said in what is left.  What
a client asks for and was not advertised to it is an error of the client's.

Left out on purpose: ``push-cert`` (a signed push can't be read as commands),
``packfile-uris`` and ``bundle-uri`` (lead the client past the gateway),
``server-option`` (means what the server likes), ``object-info`` (a side door to objects),
``session-id`` (joins logs of two parties that don't know each other),
``sideband-all`` (no server says it unasked; errors have ERR without it).
``ref-in-want`` stays, since names of refs are what rules are about;
``wait-for-done`` and ``unborn`` stay, since they change no reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from protocols.errors import LimitError, WireError
from protocols.wire import Side

_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]{1,200}")
_FORMAT: Final = re.compile(rb"sha1|sha256")
_SYMREF: Final = re.compile(rb"[^\x00-\x20\x7f:]{1,4096}:[^\x00-\x20\x7f:]{1,4096}")

Allowed: TypeAlias = "Mapping[bytes, re.Pattern[bytes] | None]"
"""By name: the form of its value, None for a capability without one."""

_SHARED: Final[Allowed] = {b"agent": _PRINTABLE, b"object-format": _FORMAT}

UPLOAD_PACK: Final[Allowed] = {
    **_SHARED,
    b"symref": _SYMREF,
    b"multi_ack": None,
    b"multi_ack_detailed": None,
    b"no-done": None,
    b"thin-pack": None,
    b"side-band": None,
    b"side-band-64k": None,
    b"ofs-delta": None,
    b"shallow": None,
    b"deepen-since": None,
    b"deepen-not": None,
    b"deepen-relative": None,
    b"no-progress": None,
    b"include-tag": None,
    b"allow-tip-sha1-in-want": None,
    b"allow-reachable-sha1-in-want": None,
    b"filter": None,
}
RECEIVE_PACK: Final[Allowed] = {
    **_SHARED,
    b"report-status": None,
    b"report-status-v2": None,
    b"delete-refs": None,
    b"side-band-64k": None,
    b"quiet": None,
    b"atomic": None,
    b"ofs-delta": None,
    b"no-thin": None,
    b"push-options": None,
}
"""``push-options`` is to be left out where the target permits no option."""

_LS_REFS: Final = frozenset((b"unborn",))
_FETCH: Final = frozenset((b"shallow", b"filter", b"wait-for-done", b"ref-in-want"))
V2_FEATURES: Final[Mapping[bytes, frozenset[bytes]]] = {b"ls-refs": _LS_REFS, b"fetch": _FETCH}
"""The commands of v2, and which of their features may be advertised."""

_NOT_SENT: Final = frozenset((b"symref", b"no-thin", b"allow-tip-sha1-in-want"))
"""Facts about the server, which a client does not say back."""
_MOST: Final = 4096
"""Capabilities in one list; a server says one ``symref`` for each of its own."""


def parse(side: Side, raw: bytes) -> list[tuple[bytes, bytes | None]]:
    """A space-separated list of ``name[=value]``, in order. LimitError."""
    out: list[tuple[bytes, bytes | None]] = []
    for word in raw.split(b" ", _MOST + 1):
        if word:
            name, equals, value = word.partition(b"=")
            out.append((name, value if equals else None))
    if len(out) > _MOST:
        raise LimitError(side, "more capabilities than there may be")
    return out


def _fits(allowed: Allowed, name: bytes, value: bytes | None) -> bool:
    if name not in allowed:
        return False
    form = allowed[name]
    if form is None or value is None:
        return form is None and value is None
    return form.fullmatch(value) is not None


def joined(listed: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    return b" ".join(name if value is None else name + b"=" + value for name, value in listed)


def strip(
    raw: bytes, allowed: Allowed, add: Iterable[bytes] = ()
) -> list[tuple[bytes, bytes | None]]:
    """An upstream's list without what is not ``allowed`` or has no fitting value,
    and with the names of ``add`` that it lacks."""
    kept = [(n, v) for n, v in parse(Side.UPSTREAM, raw) if _fits(allowed, n, v)]
    has = {name for name, _ in kept}
    return kept + [(name, None) for name in add if name not in has]


class Offered:
    """What was advertised to the client, after stripping."""

    __slots__ = ("_allowed", "_values")

    def __init__(self, allowed: Allowed, listed: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._allowed = allowed
        self._values: dict[bytes, set[bytes | None]] = {}
        for name, value in listed:
            self._values.setdefault(name, set()).add(value)

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``; sha1 where nothing was said."""
        formats = self._values.get(b"object-format", set())
        return "sha256" if formats == {b"sha256"} else "sha1"

    @property
    def oid_length(self) -> int:
        """Digits of an object id."""
        return 64 if self.object_format == "sha256" else 40

    def chosen(self, raw: bytes) -> dict[bytes, bytes | None]:
        """What the client chose, from its space-separated list. WireError of the
        client for what was not advertised, a value that does not fit, an
        object format that is not the repository's, or two values."""
        out: dict[bytes, bytes | None] = {}
        for name, value in parse(Side.CLIENT, raw):
            if name in _NOT_SENT or name not in self._values:
                raise WireError(Side.CLIENT, "asks for a capability that was not advertised")
            if not _fits(self._allowed, name, value):
                raise WireError(Side.CLIENT, "gives a capability a value that it can't have")
            if name == b"object-format" and value not in self._values[name]:
                raise WireError(Side.CLIENT, "speaks another object format than the repository")
            if out.setdefault(name, value) != value:
                raise WireError(Side.CLIENT, "gives a capability two values")
        return out
