"""What a client asks of receive-pack (gitprotocol-pack(5), "Reference Update Request
and Packfile Transfer"), before the pack.

Two kinds of no: what breaks the protocol is a WireError; what is well said and can't
be right under any rule is in ``unfit``, for a report that git can show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from protocols.errors import LimitError, WireError
from protocols.git.capabilities import Offered
from protocols.git.names import is_oid, is_ref, text
from protocols.git.pktline import FLUSH, content
from protocols.git.survey import RefUpdate
from protocols.wire import Side

MOST_COMMANDS: Final = 10_000
MOST_OPTIONS: Final = 64
LONGEST_OPTION: Final = 1024
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


def permitted(option: str, allowed: tuple[str, ...]) -> bool:
    """Whether a target permits this push option. In its patterns ``*`` stands for any
    run of characters, as in rules; every other character stands for itself."""
    return any(_meets(option, *pattern.split("*")) for pattern in allowed)


def _meets(option: str, head: str, *pieces: str) -> bool:
    if not pieces:
        return option == head
    *middles, tail = pieces
    at, end = len(head), len(option) - len(tail)
    if at > end or not option.startswith(head) or not option.endswith(tail):
        return False
    # The leftmost place of each piece leaves the most room for the next.
    for piece in middles:
        found = option.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@dataclass(slots=True)
class PushRequest:
    """The request. ``capabilities`` are those chosen; ``unfit`` says by ref why an update
    can't be, or by "" why the whole push can't."""

    updates: list[RefUpdate] = field(default_factory=list)
    capabilities: dict[bytes, bytes | None] = field(default_factory=dict)
    shallow: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)

    @property
    def has_pack(self) -> bool:
        """A pack follows unless everything is a deletion."""
        return any(not update.deletes for update in self.updates)

    @property
    def atomic(self) -> bool:
        return b"atomic" in self.capabilities

    @property
    def reports(self) -> bool:
        """The client waits for a report."""
        return b"report-status" in self.capabilities or b"report-status-v2" in self.capabilities

    @property
    def side_band(self) -> bool:
        return b"side-band-64k" in self.capabilities


class RequestLines:
    """Reads the request line by line; ``done`` once the pack or nothing follows.

    ``tips`` are the refs that the client was shown, None where that can't be said:
    who was shown another old id than it claims is turned away.  ``options`` are the
    push options that the target permits.
    """

    __slots__ = ("_offered", "_options", "_refs", "_stage", "_tips", "done", "request")

    def __init__(
        self, offered: Offered, tips: dict[bytes, bytes] | None, options: tuple[str, ...]
    ) -> None:
        self._offered = offered
        self._tips = tips
        self._options = options
        self._refs: set[bytes] = set()
        self._stage = 0  # 0 shallow lines, 1 commands, 2 push options
        self.request = PushRequest()
        self.done = False

    def line(self, line: bytes) -> None:
        """Take in a whole pkt-line. Raises WireError and LimitError of the client."""
        request = self.request
        if line == FLUSH:
            negotiated = b"push-options" in request.capabilities
            if self._stage < 2 and negotiated:
                self._stage = 2
            else:
                self.done = True
        elif self._stage == 2:
            self._option(content(line))
        else:
            self._command(content(line))

    def _command(self, said: bytes) -> None:
        if said.startswith(b"push-cert"):
            raise WireError(Side.CLIENT, "a signed push, which was not advertised")
        if said.startswith(b"shallow "):
            if self._stage or not is_oid(said[8:], self._offered.oid_length):
                raise WireError(Side.CLIENT, "a shallow line that can't stand here")
            if len(self.request.shallow) >= MOST_COMMANDS:
                raise LimitError(Side.CLIENT, "more shallow commits than there may be")
            self.request.shallow.append(said[8:].decode("ascii"))
            return
        if not self._stage:
            self._stage = 1
            said, nul, listed = said.partition(b"\0")
            if nul:
                self.request.capabilities = self._offered.chosen(listed)
        # Whatever else has a NUL fails below: no name has one.
        length = self._offered.oid_length
        old, new, ref = said[:length], said[length + 1 : 2 * length + 1], said[2 * length + 2 :]
        spaced = said[length : length + 1] == said[2 * length + 1 : 2 * length + 2] == b" "
        if not (spaced and is_oid(old, length) and is_oid(new, length)):
            raise WireError(Side.CLIENT, "a command that is none")
        if not is_ref(ref, one_level=True):
            raise WireError(Side.CLIENT, "a ref with a name that can't be")
        if len(self.request.updates) >= MOST_COMMANDS:
            raise LimitError(Side.CLIENT, "more commands than there may be")
        update = RefUpdate(old.decode("ascii"), new.decode("ascii"), text(ref))
        why = self._why_unfit(update, ref)
        if why:
            self.request.unfit.setdefault(update.ref, why)
        self._refs.add(ref)
        self.request.updates.append(update)

    def _why_unfit(self, update: RefUpdate, ref: bytes) -> str:
        if ref in self._refs:
            return "it is named twice"
        if not ref.startswith(b"refs/") or ref.count(b"/") < 2:
            return "only refs/<kind>/<name> can be pushed to"
        try:
            ref.decode("utf-8")
        except UnicodeDecodeError:
            return "its name is not UTF-8"
        if update.creates and update.deletes:
            return "there is nothing to do"
        if self._tips is not None:
            shown = self._tips.get(ref, b"0" * len(update.old)).decode("ascii")
            if shown != update.old:
                return f"it was shown at {shown}, not at {update.old}"
        return ""

    def _option(self, said: bytes) -> None:
        if _CONTROL.search(said) or len(said) > LONGEST_OPTION:
            raise WireError(Side.CLIENT, "a push option that can't be one")
        if len(self.request.options) >= MOST_OPTIONS:
            raise LimitError(Side.CLIENT, "more push options than there may be")
        option = text(said)
        self.request.options.append(option)
        if not permitted(option, self._options):
            self.request.unfit.setdefault("", "a push option that is not permitted here")
