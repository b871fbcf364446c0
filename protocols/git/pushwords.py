"""A push for the record, and what its digest covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from protocols.contract import Remark
from protocols.git.commands import PushRequest
from protocols.git.pushparts import PushWhole, word
from protocols.git.survey import UpdateSeen

REMARKS: Final = 1000
"""Updates that have an event of their own; the last event tells how many have none."""


def remarks(whole: PushWhole, seen: Sequence[UpdateSeen], refused: str = "") -> Iterator[Remark]:
    """One event for each update. ``refused``: why it was, before any rule was asked."""
    for one in islice(seen, REMARKS):
        fields: dict[str, object] = {
            "repository": whole.repository,
            "ref": one.update.ref,
            "old": one.update.old,
            "new": one.update.new,
            "update": word(one),
            "forced": one.forced,
            "commits": one.added_count,
            "lost": one.lost_count,
        }
        if refused:
            fields["refused"] = refused
        yield Remark("push", fields)
    if len(seen) > REMARKS:
        yield Remark("push", {"repository": whole.repository, "more": len(seen) - REMARKS})


def context(whole: PushWhole, request: PushRequest) -> tuple[str, ...]:
    """All that will reach the upstream, for the digest of the command."""
    chosen = sorted(name.decode("ascii") for name in request.capabilities if name != b"agent")
    return (
        f"repository {whole.repository}",
        f"format {whole.algorithm}",
        f"pack {whole.pack} {whole.size}" if whole.pack else "no pack",
        f"capabilities {' '.join(chosen)}",
        *(f"shallow {oid}" for oid in request.shallow),
        *(f"{update.old} {update.new} {update.ref}" for update in request.updates),
        *(f"option {option}" for option in request.options),
    )
