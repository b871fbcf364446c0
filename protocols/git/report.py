"""What the gateway itself says to a client that pushes.

A report (gitprotocol-pack(5), "Report Status") is pkt-lines up to a flush.  With
side-band all of it is in band 1, with a flush of the outer lines behind it.  A
report that refuses every ref is the same in report-status and report-status-v2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocols.git.pktline import FLUSH, pkt
from protocols.git.refusal import error_line, shown
from protocols.git.sideband import DATA, ERROR, TEXT, lines
from protocols.git.survey import RefUpdate


def report(
    verdicts: Iterable[tuple[str, str]], unpack: str = "ok", side_band: bool = True
) -> bytes:
    """A report that refuses: (ref, reason) for every command, in their order.
    ``unpack`` is "ok" where nothing is wrong with the pack as such."""
    out = [pkt(b"unpack %b\n" % shown(unpack))]
    for ref, reason in verdicts:
        name = ref.encode("utf-8", "surrogateescape")
        out.append(pkt(b"ng %b %b\n" % (name, shown(reason))))
    out.append(FLUSH)
    whole = b"".join(out)
    return lines(DATA, whole) + FLUSH if side_band else whole


def refusals(
    updates: Iterable[RefUpdate], said: str, own: Mapping[str, str], session: str
) -> list[tuple[str, str]]:
    """The verdict on each ref: ``said``; or, where some refs have a reason of their
    ``own``, that one, and for the others that they were not attempted."""
    if not own:
        return [(update.ref, said) for update in updates]
    other = "not attempted: another ref was refused"
    return [(u.ref, f"{own.get(u.ref, other)} (session {session})") for u in updates]


def progress(words: str) -> bytes:
    """A line of progress: git shows it behind ``remote: ``. Without words it only
    shows that somebody is there, as git-receive-pack does while it works."""
    return lines(TEXT, shown(words) + b"\n") if words else pkt(bytes([DATA]))


def last_word(words: str, side_band: bool) -> bytes:
    """An error for a client that reads no report."""
    return lines(ERROR, shown(words) + b"\n") + FLUSH if side_band else error_line(words)
