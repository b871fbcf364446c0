"""``git archive --remote`` (git-upload-archive(1)): arguments, a verdict, a stream.

The client sends ``argument`` lines, which are the command line of ``git archive`` on
the server, and a flush.  Just what git archive(1) can safely be told there passes:
nothing that names a program, a file of the server's or another server.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.contract import (
    Allow,
    Answer,
    Column,
    Command,
    Part,
    Phase,
    Plan,
    Question,
    Refuse,
    Result,
)
from protocols.errors import LimitError, WireError
from protocols.git.intake import Intake
from protocols.git.lane import LaneOpening
from protocols.git.names import text
from protocols.git.pktline import FLUSH, V0, Pkts, content
from protocols.git.refusal import error_line, reason, shown
from protocols.git.sideband import DATA, ERROR, TEXT, Bands, Texts, lines
from protocols.git.words import NEUTRAL, reads
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
REFUSED: Final = 128
MOST: Final = 64
"""Arguments of one archive; git's own server takes 64 (MAX_ARGS)."""

_OPTION: Final = re.compile(
    rb"--format=(?:tar|zip|tar\.gz|tgz)|--prefix=[^\x00-\x1f\x7f]{0,1024}|-v|--verbose|-[0-9]"
    rb"|--worktree-attributes|-l|--list"
)
# A tree: no leading dash, and nothing of the syntax of revisions but a path in it.
_TREE: Final = re.compile(rb"[A-Za-z0-9_./][A-Za-z0-9_./+@-]{0,1023}(?::[^\x00-\x1f\x7f]{0,1024})?")
_PATH: Final = re.compile(rb"[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]{0,4095}")


class ArchiveLane:
    """``protocols.git.lane.Lane`` for ``git-upload-archive``."""

    more = False
    mute = True

    def __init__(self, opening: LaneOpening) -> None:
        self._opening = opening
        self._outbox = Outbox()
        self._intake = Intake(self._outbox)
        self._texts = Texts((opening.own,))
        self._pkts = Pkts(CLIENT)
        self._replies = Pkts(UPSTREAM)
        self._bands: Bands | None = None
        self._words: list[bytes] = []
        self._request: list[bytes] = []
        self._size = 0
        self._command: Command | None = None
        self._asked = 0
        self._sent = False
        self._over = False
        self.finished: int | None = None

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if side is UPSTREAM:
            if self.finished is not None:
                self._outbox.take(UPSTREAM, data, Mark.EDITED)
            elif data:
                self._from_upstream(data)
            else:
                self._end()
            return []
        self._outbox.take(CLIENT, data)
        if self.finished is not None or not data:
            return []
        try:
            return self._from_client(data)
        except WireError as error:
            self._farewell(error)
            raise

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if not number or number != self._asked:
            raise KeyError(number)
        command, self._asked = self._command, 0
        assert command is not None
        if isinstance(answer, Refuse):
            self._last(reason(answer, self._opening.session))
            return []
        if isinstance(answer, Plan) and number != command.number:
            self._texts.adopt(answer)
        elif isinstance(answer, Allow) and number == command.number:
            if answer.masked:
                self._asked = self._opening.number()
                column = Column("remote messages", "text", ())
                return [Result(self._asked, command.number, (column,))]
        else:
            raise TypeError(f"{type(answer).__name__} does not answer that")
        self._sent = True
        self._outbox.forward(CLIENT, b"".join(self._request), 0)
        self._request.clear()
        return []

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def say(self, number: int, text: str) -> None:
        """Nothing can be said before the first ACK."""

    def withdraw(self, number: int) -> None:
        if number and number == self._asked:
            self._last(f"withdrawn by the client (session {self._opening.session})")

    def dismiss(self, refuse: Refuse) -> None:
        if self.finished is None:
            self._last(reason(refuse, self._opening.session))

    @property
    def held(self) -> tuple[int, int]:
        waiting = 0 if self._sent else self._size
        return waiting, self._intake.carried + self._texts.held

    @property
    def at_rest(self) -> bool:
        return not self._asked and (not self._sent or self._over)

    @property
    def owed(self) -> bool:
        return self._sent and not self._over

    # -- the client ---------------------------------------------------------

    def _from_client(self, data: bytes) -> list[Question]:
        self._size += len(data)
        if self._size > self._opening.limit:
            raise LimitError(CLIENT, "a request longer than there may be")
        if self._command is not None:
            raise WireError(CLIENT, "speaks on behind its request")
        for line in self._pkts.lines(data):
            self._request.append(line)
            if line == FLUSH:
                if self._pkts.waiting:
                    raise WireError(CLIENT, "speaks on behind its request")
                return [self._ask()]
            said = content(line)
            if not said.startswith(b"argument "):
                raise WireError(CLIENT, "a line that has no place in an archive's request")
            if len(self._words) == MOST:
                raise LimitError(CLIENT, "more arguments than there may be")
            self._words.append(said[9:])
        return []

    def _ask(self) -> Command:
        options: list[bytes] = []
        words = list(self._words)
        while words and words[0].startswith(b"-") and words[0] != b"--":
            if _OPTION.fullmatch(words[0]) is None:
                raise WireError(CLIENT, "an option that an archive can't have here")
            options.append(words.pop(0))
        if words[:1] == [b"--"]:
            del words[0]
        if words and _TREE.fullmatch(words[0]) is None:
            raise WireError(CLIENT, "an archive of what is no tree")
        if not words and not {b"-l", b"--list"} & set(options):
            raise WireError(CLIENT, "an archive of nothing")
        tree, paths = words[:1], words[1:]
        if any(_PATH.fullmatch(path) is None for path in paths):
            raise WireError(CLIENT, "an archive of a path that can't be")
        repository = self._opening.repository
        told = [text(word) for word in (*options, *tree, *paths)]
        facts = {
            **NEUTRAL,
            "repo": repository,
            "service": "archive",
            "wants": tuple(map(text, tree)),
        }
        self._command = Command(
            self._opening.number(),
            Phase.RUN,
            f"archive {repository}: {' '.join(told)}",
            (Part("git.archive", reads(repository), facts, complete=True),),
            context=tuple(told),
        )
        self._asked = self._command.number
        return self._command

    # -- the upstream -------------------------------------------------------

    def _from_upstream(self, data: bytes) -> None:
        self._intake.begin()
        try:
            if not self._sent:
                raise WireError(UPSTREAM, "speaks unasked")
            if self._bands is None:
                self._acknowledged(data)
            else:
                self._banded(data)
        except WireError as error:
            self._intake.spill(data)
            self._farewell(error)
            raise
        self._settle()

    def _settle(self) -> None:
        if self._bands is None:
            waiting = self._replies.peek()
            told = len(waiting) >= 8 and waiting.startswith(b"ACK", 4)
            self._intake.settle(waiting, edited=not told)
        else:
            self._intake.settle(self._bands.peek(), edited=True)

    def _acknowledged(self, data: bytes) -> None:
        """ACK and a flush, or NACK and why, or ERR; then side-band lines."""
        replies = self._replies
        replies.feed(data)
        while (line := replies.next()) is not None:
            said = content(line)
            if line == FLUSH:
                self._intake.pass_on(line)
                self._bands = Bands(special=V0)
                self._banded(replies.rest())
                return
            if said.startswith(b"ERR "):
                self._intake.error_line(line, self._texts)
            elif said.startswith(b"NACK "):
                text = line[9:]
                masked = self._texts.whole(text)
                self._intake.pass_or_replace(line, line if masked == text else _nack(masked))
            elif said == b"ACK":
                self._intake.pass_on(line)
            else:
                raise WireError(UPSTREAM, "a line that has no place before an archive")

    def _banded(self, data: bytes) -> None:
        bands, intake, texts = self._bands, self._intake, self._texts
        assert bands is not None
        if self._over:
            raise WireError(UPSTREAM, "speaks on behind an archive")
        for band, raw in bands.feed(data):
            if band == DATA:
                intake.pass_on(raw)
                continue
            had, said = texts.held, raw[5:]
            if band == TEXT:
                masked = texts.feed(said)
                plain = masked == said and not had and not texts.held
                intake.pass_or_replace(raw, raw if plain else lines(TEXT, masked))
            elif band == ERROR:
                masked = texts.whole(said)
                before = lines(TEXT, texts.finish())
                plain = masked == said and not before
                intake.pass_or_replace(raw, raw if plain else before + lines(ERROR, masked))
            else:
                before = lines(TEXT, texts.finish())
                intake.pass_or_replace(raw, before + raw)
                self._over = True
        if self._over and bands.rest:
            raise WireError(UPSTREAM, "speaks on behind an archive")

    def _end(self) -> None:
        if self._bands is not None and self._bands.between and not self._over:
            held = lines(TEXT, self._texts.finish())
            self._outbox.send(CLIENT, held, Mark.EDITED)
        self._over = True

    def _farewell(self, error: WireError) -> None:
        who = "the upstream broke git's protocol: " if error.side is UPSTREAM else ""
        self._last(f"{who}{error.message} (session {self._opening.session})")

    def _last(self, said: str) -> None:
        raw = b""
        if self._bands is None:
            raw = b"" if self._intake.carried else error_line(said)
        elif self._bands.between and not self._over:
            raw = lines(ERROR, shown(said))
        self._outbox.send(CLIENT, raw, Mark.OURS)
        self._asked = 0
        self.finished = REFUSED


def _nack(said: bytes) -> bytes:
    return b"%04x" % (len(said) + 9) + b"NACK " + said
