"""What ``git-receive-pack`` says: its refs, then nothing until it has all, then a report.

Lines go on as they are, but for stripped capabilities and masked texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from protocols.errors import WireError
from protocols.git.advertisement import Advertisement
from protocols.git.capabilities import RECEIVE_PACK
from protocols.git.intake import Intake
from protocols.git.pktline import FLUSH, Pkts
from protocols.git.sideband import DATA, TEXT, Bands, Texts, lines
from protocols.outbox import Outbox
from protocols.wire import Mark, Side

UPSTREAM = Side.UPSTREAM


class State(Enum):
    GREETING = "the advertisement"
    QUIET = "nothing: it waits for commands"
    BANDS = "side-band lines up to a flush"
    LINES = "a report without side-band, up to a flush"
    OVER = "nothing any more"


class PushReplies:
    """The upstream's side of a push. ``reported`` is True once bytes of its report
    went to the client: one of ours can't follow."""

    def __init__(self, outbox: Outbox, texts: Texts, asked: int, without: Iterable[bytes]) -> None:
        """``without``: capabilities that this target does not have here."""
        allowed = {name: form for name, form in RECEIVE_PACK.items() if name not in set(without)}
        self._outbox = outbox
        self._intake = Intake(outbox)
        self._pkts = Pkts(UPSTREAM)
        self._bands = Bands()
        self._texts = texts
        self.state = State.GREETING
        self.reported = False
        # receive-pack knows no version 2: asked for it, it answers as in v0.
        self.greeting = Advertisement(min(asked, 1), allowed, (b"no-thin",))

    @property
    def held(self) -> int:
        return self._intake.carried + self._texts.held

    @property
    def between(self) -> bool:
        """A line of ours can stand here."""
        if self.state is State.BANDS:
            return self._bands.between
        return self.state is not State.OVER and not self._intake.carried

    def expect(self, banded: bool) -> None:
        """The request was sent."""
        self.state = State.BANDS if banded else State.LINES

    def receive(self, data: bytes) -> None:
        """Raises WireError of the upstream; what arrived is accounted for even then."""
        before = self._outbox.arrived[UPSTREAM]
        try:
            if self.state is State.BANDS:
                self._banded(data)
            else:
                self._pkts.feed(data)
                self._lines()
        except WireError:
            self._intake.flush()
            told = self._outbox.arrived[UPSTREAM] - before
            self._outbox.take(UPSTREAM, data[told:], Mark.EDITED)
            raise
        waiting = self._bands.peek() if self.state is State.BANDS else self._pkts.peek()
        # Only what may be replaced is not for every eye: the first line, texts.
        self._intake.settle(waiting, edited=self.state is not State.LINES)

    def end(self) -> None:
        """The end of the stream: what text was held back goes out."""
        if self.state is State.BANDS and self._bands.between:
            self._outbox.send(Side.CLIENT, lines(TEXT, self._texts.finish()), Mark.EDITED)
        self.state = State.OVER

    def _lines(self) -> None:
        while (line := self._pkts.next()) is not None:
            if self.state is State.GREETING:
                self._greet(line)
            elif self.state is State.LINES:
                if line.startswith(b"ERR ", 4):
                    self._intake.error_line(line, self._texts)
                    self.state = State.OVER
                else:
                    self.reported = True
                    self._intake.pass_on(line)
                    if line == FLUSH:
                        self.state = State.OVER
            else:
                raise WireError(UPSTREAM, "speaks unasked")

    def _greet(self, line: bytes) -> None:
        greeting = self.greeting
        shown = greeting.line(line)
        if greeting.error:
            self._intake.error_line(line, self._texts)
            self.state = State.OVER
            return
        self._intake.pass_or_replace(line, shown, Mark.PLAIN)
        if greeting.done:
            self.state = State.QUIET

    def _banded(self, data: bytes) -> None:
        for band, raw in self._bands.feed(data):
            if band == DATA:
                # An empty line of band 1 is receive-pack's sign of life.
                self.reported = self.reported or raw.replace(b"0005\1", b"") != b""
                self._intake.pass_on(raw)
            elif band:
                self._text(band, raw)
            else:
                held = lines(TEXT, self._texts.finish())
                if held:
                    self._intake.replace(raw, held + raw)
                else:
                    self._intake.pass_on(raw)
                self.state = State.OVER
        if self.state is State.OVER and self._bands.rest:
            raise WireError(UPSTREAM, "speaks on behind its report")

    def _text(self, band: int, line: bytes) -> None:
        texts, said = self._texts, line[5:]
        had = texts.held
        if band == TEXT:
            before, shown = b"", texts.feed(said)
            same = shown == said and not had and not texts.held
        else:
            before, shown = lines(TEXT, texts.finish()), texts.whole(said)
            same = shown == said and not before
        if same:
            self._intake.pass_on(line)
        else:
            self._intake.replace(line, before + lines(band, shown))
