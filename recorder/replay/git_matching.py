"""Is what a client asks now what was asked then? Equal, equal after named normalisers, or not:
then the closest on record, and what differs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocols.git.pktline import content
from recorder.render import one_line
from recorder.replay.git_exchanges import Exchange
from recorder.replay.git_requests import Request

DEFAULT: Final = ("agent", "session-id", "capability-order", "line-end", "pack-bytes")
DECLARED: Final = ("haves", "repository")
_AMONG: Final = 200
_LINES: Final = 2000

Form = tuple[str, bool, tuple[bytes, ...], tuple[bytes, ...]]


def form(request: Request, on: frozenset[str]) -> Form:
    """``request`` as the normalisers ``on`` leave it."""
    if not on:
        return request.kind, request.pack, request.lines, ()
    asked, chosen = request.parts
    if "line-end" not in on:
        kept = (line for line in request.lines if "haves" not in on or line[4:9] != b"have ")
        asked.append(b"".join(b"\n" if line[-1:] == b"\n" else b"." for line in kept))
    if "agent" in on:
        chosen = [word for word in chosen if not word.startswith(b"agent=")]
    if "session-id" in on:
        chosen = [word for word in chosen if not word.startswith(b"session-id=")]
    if "capability-order" in on:
        chosen = sorted(chosen)
    if "haves" in on:
        asked = [line for line in asked if not line.startswith(b"have ")]
    return request.kind, request.pack, tuple(asked), tuple(chosen)


def same(then: Exchange, now: Request, on: frozenset[str]) -> tuple[str, ...] | None:
    """The normalisers that it took to make them equal, of two whose forms are; None: with
    ``haves`` the answer may depend on an object that is not said now."""
    if then.request.lines == now.lines:
        return ()
    if "haves" in on and not _needed(then) <= _haves(now):
        return None
    return tuple(n for n in sorted(on) if form(then.request, on - {n}) != form(now, on - {n}))


def _needed(then: Exchange) -> frozenset[bytes]:
    """What a client must have for the answer to be of use. Behind ``done`` no server says
    what of it is common: then all that was said."""
    if any(content(line) == b"done" for line in then.request.lines):
        return then.acked | _haves(then.request)
    return then.acked


def _haves(request: Request) -> frozenset[bytes]:
    said = map(content, request.lines)
    return frozenset(line[5:] for line in said if line.startswith(b"have "))


def closest(now: Request, among: Iterable[Exchange]) -> str:
    """The recorded exchange that is most like ``now``, and where they part."""
    asked = _words(now)
    best: tuple[float, Exchange] | None = None
    for exchange, _ in zip(among, range(_AMONG), strict=False):
        then = _words(exchange.request)
        likeness = len(set(asked) & set(then)) / max(1, len(set(asked) | set(then)))
        likeness += exchange.request.kind == now.kind
        if best is None or likeness > best[0]:
            best = likeness, exchange
    if best is None:
        return f"{now.said} is asked; nothing more is on record"
    then, found = _words(best[1].request), best[1]
    told = f"the closest on record is request {found.number}, {found.request.said}"
    if found.hidden:
        return f"{told}, which is not all on record: {found.hidden}"
    return f"{told}; {parting(then, asked)}"


def parting(then: list[bytes], now: list[bytes]) -> str:
    """What differs, in words."""
    had, has = set(then), set(now)
    gone = [word for word in then if word not in has]
    new = [word for word in now if word not in had]
    said = [f"{when} only: {_shown(words)}" for when, words in (("then", gone), ("now", new))
            if words]  # fmt: skip
    return ", ".join(said) or "the same in another order, or another number of times"


def _shown(words: list[bytes]) -> str:
    first = ", ".join(
        repr(one_line(w[:150].decode("utf-8", "backslashreplace"))) for w in words[:2]
    )
    return first + (f" and {len(words) - 2} more" if len(words) > 2 else "")


def _words(request: Request) -> list[bytes]:
    asked, chosen = request.parts
    return [line for line in asked[:_LINES] if line] + chosen[:_LINES]
