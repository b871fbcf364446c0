"""What ``git-upload-pack`` says, from its advertisement to the last byte of a pack.

Lines go on as they are, but for stripped capabilities and masked texts.  The pack
itself is not looked at: of band 1 only the lines' heads are read.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from protocols.errors import WireError
from protocols.git.advertisement import Advertisement
from protocols.git.intake import Intake
from protocols.git.names import is_oid
from protocols.git.pktline import DELIM, FLUSH, SPECIAL, V2, Pkts, content
from protocols.git.sideband import DATA, ERROR, LARGE, SMALL, TEXT, Bands, Texts, lines
from protocols.git.wants import Names
from protocols.outbox import Outbox
from protocols.wire import Mark, Side

UPSTREAM = Side.UPSTREAM


class State(Enum):
    GREETING = "the advertisement"
    IDLE = "nothing: no request is open"
    ANSWERS = "v0 and v1: shallow lines, ACK and NAK, then the pack"
    REFS = "v2: the answer of ls-refs"
    SECTIONS = "v2: the answer of fetch, up to its pack"
    BANDS = "side-band lines up to a flush"
    RAW = "a pack without side-band"
    OVER = "nothing any more"


_ACK: Final = re.compile(rb"ACK ([0-9a-f]+)(?: continue| common| ready)?|NAK|ready")
_EDGE: Final = re.compile(rb"(?:un)?shallow ([0-9a-f]+)")
_REF: Final = re.compile(rb"([0-9a-f]+) ([^\x00-\x20\x7f]+)(?: [^\x00-\x20\x7f]+)*")
_UNBORN: Final = re.compile(rb"unborn ([^\x00-\x20\x7f]+)(?: [^\x00-\x20\x7f]+)*")
_SECTIONS: Final = (b"acknowledgments", b"shallow-info", b"wanted-refs", b"packfile")


class Replies:
    """The upstream's side of a fetch."""

    def __init__(self, outbox: Outbox, texts: Texts, asked: int) -> None:
        self._outbox = outbox
        self._intake = Intake(outbox)
        self._pkts = Pkts(UPSTREAM)
        self._bands = Bands()
        self._texts = texts
        self._section = b""
        self._banded = False
        self._longest = LARGE
        self._shallow_due = False
        self._early = False
        self.done = False
        """v0 and v1: the client has said ``done``."""
        self.state = State.GREETING
        self.greeting = Advertisement(asked)
        self.names = Names()

    @property
    def held(self) -> int:
        return self._intake.carried + self._texts.held

    @property
    def word_fits(self) -> bool:
        """An ERR line of ours can stand here."""
        lined = self.state not in (State.BANDS, State.RAW, State.OVER)
        return lined and not self._intake.carried

    @property
    def band_fits(self) -> bool:
        """A side-band line of ours can stand here."""
        return self.state is State.BANDS and self._bands.between

    @property
    def longest(self) -> int:
        """Bytes of a side-band line."""
        return self._longest

    def expect_answers(self, banded: bool, large: bool, shallow: bool, early: bool) -> None:
        """v0 and v1: the request was sent. ``banded``: the pack comes in side-band
        lines; ``shallow``: shallow lines come first; ``early``: the pack may come before
        the client says it is done (``no-done``)."""
        self.state = State.ANSWERS
        self._banded = banded
        self._longest = LARGE if large else SMALL
        self._shallow_due = shallow
        self._early = early

    def expect(self, state: State) -> None:
        """v2: a command was sent."""
        self.state = state
        self._section = b""
        self._pkts.special = V2

    def receive(self, data: bytes) -> None:
        """Raises WireError of the upstream; what arrived is accounted for even then."""
        try:
            self._receive(data)
        except WireError:
            self._intake.spill(data)
            raise
        self._settle()

    def _receive(self, data: bytes) -> None:
        self._intake.begin()
        state = self.state
        if state is State.RAW:
            self._intake.pass_on(data)
        elif state is State.BANDS:
            self._banded_lines(data)
        else:
            self._pkts.feed(data)
            self._lines()

    def end(self) -> None:
        """The end of the stream: what text was held back goes out."""
        if self.band_fits:
            shown = lines(TEXT, self._texts.finish(), self._longest)
            self._outbox.send(Side.CLIENT, shown, Mark.EDITED)
        self.state = State.OVER

    def _settle(self) -> None:
        if self.state is State.BANDS:
            if self._bands.waiting:
                self._intake.settle(self._bands.peek(), edited=True)
            else:
                self._intake.flush()
            return
        waiting = self._pkts.peek()
        first = self.state is State.GREETING and self.greeting.version in (-1, 2)
        told = len(waiting) >= 8 and not waiting.startswith(b"ERR ", 4)
        # The first line of refs in v1 comes behind a line of its own.
        first |= self.state is State.GREETING and not self.greeting.tips
        self._intake.settle(waiting, edited=first or not told)

    def _lines(self) -> None:
        pkts = self._pkts
        while True:
            state = self.state
            if state is State.ANSWERS and (self.done or self._early) and self._pack_begins():
                return
            line = pkts.next()
            if line is None:
                return
            if state is State.GREETING:
                self._greet(line)
            elif state in (State.IDLE, State.OVER):
                raise WireError(UPSTREAM, "speaks unasked")
            elif line.startswith(b"ERR ", 4):
                self._intake.error_line(line, self._texts)
                self.state = State.OVER
            elif state is State.REFS:
                self._listed(line)
            elif state is State.ANSWERS:
                self._answered(line)
            else:
                self._sectioned(line)
            if self.state is State.BANDS:
                self._banded_lines(pkts.rest())
                return

    def _pack_begins(self) -> bool:
        """v0 and v1: what follows is the pack. No line before it has a band for its
        first byte, and the word PACK is no length."""
        pkts = self._pkts
        if self._banded:
            if pkts.first() not in (DATA, TEXT, ERROR):
                return False
            self._begin_bands()
            self._banded_lines(pkts.rest())
        else:
            if not pkts.starts(b"PACK"):
                return False
            self.state = State.RAW
            self._intake.pass_on(pkts.rest())
        return True

    def _greet(self, line: bytes) -> None:
        greeting = self.greeting
        shown = greeting.line(line)
        if greeting.error:
            self._intake.error_line(line, self._texts)
            self.state = State.OVER
            return
        self._intake.pass_or_replace(line, shown, Mark.PLAIN)
        if greeting.done:
            self.state = State.IDLE
            for ref, oid in greeting.tips.items():
                self.names.learn(ref, oid)
            greeting.tips, greeting.peeled = {}, {}

    def _oid(self, oid: bytes | None) -> bytes:
        if oid is None or not is_oid(oid, self.greeting.offered.oid_length):
            raise self._wrong()
        return oid

    @staticmethod
    def _wrong() -> WireError:
        return WireError(UPSTREAM, "a line that has no place in its answer")

    def _listed(self, line: bytes) -> None:
        if line == FLUSH:
            self.state = State.IDLE
        elif line in SPECIAL:
            raise self._wrong()
        else:
            said = content(line)
            found = _REF.fullmatch(said)
            if found is not None:
                self.names.learn(found[2], self._oid(found[1]))
            elif _UNBORN.fullmatch(said) is None:
                raise self._wrong()
        self._intake.pass_on(line)

    def _edge(self, line: bytes) -> None:
        found = _EDGE.fullmatch(content(line))
        self._oid(found[1] if found is not None else None)

    def _answered(self, line: bytes) -> None:
        if self._shallow_due:
            if line == FLUSH:
                self._shallow_due = False
            else:
                self._edge(line)
        else:
            found = _ACK.fullmatch(content(line))
            if found is None or line in SPECIAL:
                raise self._wrong()
            if found[1] is not None:
                self._oid(found[1])
        self._intake.pass_on(line)

    def _sectioned(self, line: bytes) -> None:
        section, said = self._section, content(line)
        if line == FLUSH:
            # Only acknowledgments may be all there is.
            if section != b"acknowledgments":
                raise self._wrong()
            self.state = State.IDLE
        elif line == DELIM:
            if not section:
                raise self._wrong()
            self._section = b""
        elif not section:
            if said not in _SECTIONS:
                raise self._wrong()
            self._section = said
            if said == b"packfile":
                self._begin_bands()
        elif section == b"acknowledgments":
            found = _ACK.fullmatch(said)
            if found is None:
                raise self._wrong()
            if found[1] is not None:
                self._oid(found[1])
        elif section == b"shallow-info":
            self._edge(line)
        else:
            found = _REF.fullmatch(said)
            self._oid(found[1] if found is not None else None)
        self._intake.pass_on(line)

    def _begin_bands(self) -> None:
        self.state = State.BANDS
        self._bands = Bands(self._longest)

    def _banded_lines(self, data: bytes) -> None:
        bands, intake = self._bands, self._intake
        for band, raw in bands.feed(data):
            if band == DATA:
                intake.pass_on(raw)
            elif band:
                self._one_band(raw)
            else:
                self._end_bands(raw)
        if self.state is not State.BANDS and bands.rest:
            self._pkts.feed(bands.rest)
            self._lines()

    def _one_band(self, line: bytes) -> None:
        """A whole line of any band."""
        band, said = line[4], line[5:]
        texts = self._texts
        had = texts.held
        if band == DATA:
            self._intake.pass_on(line)
        elif band == TEXT:
            shown = texts.feed(said)
            if shown == said and not had and not texts.held:
                self._intake.pass_on(line)
            else:
                self._intake.replace(line, lines(TEXT, shown, self._longest))
        else:
            before = lines(TEXT, texts.finish(), self._longest)
            shown = texts.whole(said)
            if shown == said and not before:
                self._intake.pass_on(line)
            else:
                self._intake.replace(line, before + lines(band, shown, self._longest))

    def _end_bands(self, line: bytes) -> None:
        held = self._texts.finish()
        if held:
            self._intake.replace(line, lines(TEXT, held, self._longest) + line)
        else:
            self._intake.pass_on(line)
        self.state = State.IDLE if self.greeting.version == 2 else State.OVER
