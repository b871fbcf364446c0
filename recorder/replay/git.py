"""What a git service said then and now: lines compared in order, packs by their objects.

A server may pack the same objects in another way each time; so packs are compared as sets of
object ids, never as bytes. Formats: gitprotocol-pack(5), gitprotocol-v2(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from recorder.replay.align import operations
from recorder.replay.compare import Difference
from recorder.replay.messages import UnreadableError
from recorder.replay.report import Item, Status

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_MARKS = {0: b"(flush)", 1: b"(delimiter)", 2: b"(end of response)"}
CAPABILITIES = "server-capabilities"
"""The normaliser: what a server can do is its version's."""


@dataclass(slots=True)
class Said:
    """``lines`` in order, each with whether it tells capabilities; ``pack`` as it came."""

    lines: list[tuple[bytes, bool]] = field(default_factory=list)
    pack: bytes = b""


def said(stdout: bytes) -> Said:
    """Read what a service wrote. UnreadableError when that is no git."""
    told = Said()
    band = bytearray()
    at, capable = 0, False
    while at < len(stdout):
        if stdout[at : at + 4] == b"PACK":
            band += stdout[at:]
            break
        payload, at = _line(stdout, at)
        if payload is None:
            continue
        if payload[:1] in (b"\1", b"\2", b"\3"):
            if payload[:1] == b"\1":
                band += payload[1:]
            elif payload[:1] == b"\3":
                told.lines.append((b"error: " + payload[1:].rstrip(b"\n"), False))
            continue  # progress is for people
        capable = _note(told, payload, capable)
    if band[:4] == b"PACK":
        told.pack = bytes(band)
    else:
        inner = 0
        while inner < len(band):
            payload, inner = _line(bytes(band), inner)
            if payload is not None:
                _note(told, payload, False)
    return told


def _line(data: bytes, at: int) -> tuple[bytes | None, int]:
    head = data[at : at + 4]
    if not _LENGTH.fullmatch(head):
        raise UnreadableError("what the service said is no git protocol")
    size = int(head, 16)
    if size < 4:
        return (_MARKS.get(size, b"(reserved)") if size else None), at + 4
    return data[at + 4 : at + size], at + size


def _note(told: Said, payload: bytes, capable: bool) -> bool:
    line, nul, more = payload.rstrip(b"\n").partition(b"\0")
    if line == b"version 2":
        capable = True
    elif capable and (
        line[:1] == b"(" or re.match(rb"[0-9a-f]{40}|acknowledgments|packfile", line)
    ):
        capable = False
    told.lines.append((line, capable and line != b"version 2"))
    if nul:
        told.lines.append((more.strip(), True))
    return capable


def compare(then: Said, now: Said, exact: bool) -> Iterator[Item]:
    """The lines; not the packs."""
    number = 0
    if not exact:
        before, after = (b"\n".join(text for text, c in s.lines if c) for s in (then, now))
        number += 1
        if before == after:
            yield Item(Status.EQUAL, 1, number, "capabilities")
        else:
            yield Item(Status.NORMALISED, 1, number, "capabilities", normalisers=(CAPABILITIES,))
    a, b = ([text for text, c in s.lines if exact or not c] for s in (then, now))
    for op, i, j, k, n in operations(a, b):
        if op == "equal":
            for _ in range(i, j):
                number += 1
                yield Item(Status.EQUAL, 1, number, "line")
            continue
        pairs = min(j - i, n - k)
        for x, y in zip(a[i : i + pairs], b[k : k + pairs], strict=True):
            number += 1
            yield Item(Status.DIFFERS, 1, number, "line", differences=[Difference("line", x, y)])
        for status, lines in ((Status.MISSING, a[i + pairs : j]), (Status.EXTRA, b[k + pairs : n])):
            for line in lines:
                number += 1
                yield Item(status, 1, number, "line", note=line.decode("utf-8", "backslashreplace"))


def compare_objects(then: frozenset[str], now: frozenset[str]) -> Item:
    """The objects of the packs."""
    if then == now:
        return Item(Status.EQUAL, 1, 0, "pack", note=f"{len(then)} objects")
    gone, new = sorted(then - now), sorted(now - then)
    found = [Difference(f"{len(gone)} objects only then", " ".join(gone[:4]).encode(), None)]
    found.append(Difference(f"{len(new)} objects only now", None, " ".join(new[:4]).encode()))
    return Item(Status.DIFFERS, 1, 0, "pack", differences=[d for d in found if d[1] or d[2]],
                note=f"{len(then)} objects then, {len(now)} now")  # fmt: skip
