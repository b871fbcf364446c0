"""What the gateway itself says to a client that pushes.

A report (gitprotocol-pack(5), "Report Status") is pkt-lines up to a flush.  With
side-band all of it is in band 1, with a flush of the outer lines behind it.  A
report that refuses every ref is the same in report-status and report-status-v2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from protocols.contract import Refuse
from protocols.git.pktline import FLUSH, pkt
from protocols.git.sideband import DATA, ERROR, TEXT, lines

LONGEST: Final = 900
"""Bytes of a reason."""
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def one_line(words: str) -> bytes:
    """``words`` on one line without control characters (nor those that turn the
    direction of text), cut to ``LONGEST`` bytes."""
    raw = _UNFIT.sub(" ", words).strip().encode("utf-8", "backslashreplace")
    if len(raw) > LONGEST:
        raw = raw[: LONGEST - 3].decode("utf-8", "ignore").encode("utf-8") + b"..."
    return raw or b"refused"


def why(refuse: Refuse, session: str) -> str:
    """The sentence for the person who pushes."""
    reason = refuse.reason or "not allowed"
    if refuse.kind == "policy":
        by = f"blocked by rule {refuse.rule}" if refuse.rule else "blocked"
        reason = f"{by}: {reason}"
    return f"{reason} (session {session})"


def report(
    verdicts: Iterable[tuple[str, str]], unpack: str = "ok", side_band: bool = True
) -> bytes:
    """A report that refuses: (ref, reason) for every command, in their order.
    ``unpack`` is "ok" where nothing is wrong with the pack as such."""
    out = [pkt(b"unpack %b\n" % one_line(unpack))]
    for ref, reason in verdicts:
        name = ref.encode("utf-8", "surrogateescape")
        out.append(pkt(b"ng %b %b\n" % (name, one_line(reason))))
    out.append(FLUSH)
    whole = b"".join(out)
    return lines(DATA, whole) + FLUSH if side_band else whole


def progress(words: str) -> bytes:
    """A line of progress: git shows it behind ``remote: ``."""
    return lines(TEXT, one_line(words) + b"\n")


def last_word(words: str, side_band: bool) -> bytes:
    """An error for a client that reads no report."""
    said = one_line(words)
    return lines(ERROR, said + b"\n") + FLUSH if side_band else pkt(b"ERR %b\n" % said)
