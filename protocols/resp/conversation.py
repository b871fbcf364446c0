"""One RESP session: the entrance, then commands judged one by one.

In place of a refused command the server gets one of ours that it doesn't know
(DECISIONS §3): its error, recognised by a random word, becomes the client's.
So the order of replies is the server's own, and a MULTI with a refused command
in it is aborted by the server's own EXECABORT.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Final

from protocols.contract import Allow, Answer, Command, Opening, Phase, Question, Refuse, Talk
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.resp.entrance import Entrance
from protocols.resp.replies import Replies
from protocols.resp.requests import Requests
from protocols.resp.text import shown
from protocols.resp.verbs import part, verb_of
from protocols.resp.words import command, failure, refusal
from protocols.wire import Mark, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
_WITHHELD: Final = {
    "AUTH": "the session is proven already",
    "RESET": "it would undo the gateway's login",
    "MONITOR": "it would show what others send",
    "SYNC": "it would make the connection a replica's",
    "PSYNC": "it would make the connection a replica's",
    "REPLCONF": "it would make the connection a replica's",
}
"""What no rule can allow, and why."""


class RespConversation:
    """The conversation of ``protocols.contract``. Bytes that wait for an
    answer are in ``unforwarded``: a command is accounted for once, whole."""

    more = False

    def __init__(self, opening: Opening) -> None:
        self._session = opening.session
        self._chance = opening.chance
        self._numbers = count(1)
        self._outbox = Outbox()
        self._requests = Requests(self._outbox, opening.limit)
        self._replies = Replies(self._outbox)
        self._entrance: Entrance | None = Entrance(
            opening, self._outbox, self._requests, self._replies, self._numbers
        )
        self._asked = 0
        self._left = False
        self._listening = False
        self._closing = False

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if self._closing:
            self._outbox.take(side, data, Mark.SECRET)
            return []
        try:
            if side is UPSTREAM:
                return self._from_upstream(data)
            if not data:
                self._end(b"")
            elif self._left:
                self._outbox.take(CLIENT, data, Mark.SECRET)
            else:
                self._requests.push(data)
                if not self._asked:
                    return self._read()
        except WireError as error:
            self._farewell(error)
            raise
        return []

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if self._closing:
            return []
        entrance = self._entrance
        try:
            if entrance is not None and number and number == entrance.pending:
                questions = entrance.answer(answer)
                return questions or self._read()
            if not number or number != self._asked:
                raise KeyError(number)
            if isinstance(answer, Allow):
                self._allow()
            elif isinstance(answer, Refuse):
                self._refuse(refusal(answer, self._session))
            else:
                raise TypeError(f"{type(answer).__name__} does not answer a Command")
            self._asked = 0
            return self._read()
        except WireError as error:
            self._farewell(error)
            raise

    def moves(self) -> list[Span]:
        self._requests.flush()
        return self._outbox.drain()

    def say(self, number: int, text: str) -> None:
        """RESP has no notices; a client that waits is told nothing."""

    def withdraw(self, number: int) -> None:
        """RESP has no cancel; the relay withdraws for reasons of its own."""
        if number and number == self._asked:
            self._asked = 0
            self._refuse(failure("ERR", f"withdrawn by the client (session {self._session})"))
            # What waits behind it is read when the server has answered.

    def dismiss(self, refuse: Refuse) -> None:
        if not self._closing:
            self._end(refusal(refuse, self._session))

    def cancel(self) -> Talk | None:
        return None

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def at_rest(self) -> bool:
        idle = not (self._asked or self._listening or self._replies.due or len(self._requests))
        return self._entrance is None and idle and self._replies.between

    @property
    def held(self) -> int:
        waiting = self._asked or self._entrance is not None
        return self._requests.waiting if waiting else 0

    @property
    def waiting(self) -> tuple[int, int]:
        return self.held, 0

    @property
    def ready(self) -> bool:
        return self._entrance is None

    @property
    def owed(self) -> bool:
        return self._replies.due > 0

    @property
    def between(self) -> bool:
        return self._replies.between

    @property
    def aside(self) -> str:
        return self._entrance.aside if self._entrance is not None else ""

    @property
    def unforwarded(self) -> tuple[int, int]:
        return len(self._requests), len(self._replies)

    def _from_upstream(self, data: bytes) -> list[Question]:
        entrance = self._entrance
        if not data:
            owed = entrance is not None or self._replies.due
            gone = Refuse("the upstream closed the connection", kind="upstream")
            self._end(refusal(gone, self._session) if owed and not self._left else b"")
        elif entrance is None:
            self._requests.flush()
            self._replies.receive(data)
            if len(self._requests) and not self._asked:
                return self._read()
        elif not entrance.logging_in:
            self._outbox.take(UPSTREAM, data)
            raise WireError(UPSTREAM, "bytes before the login")
        else:
            entrance.upstream(data)
            return self._read()
        return []

    def _read(self) -> list[Question]:
        """Go through the client's commands until one must be asked about."""
        if self._entrance is not None:
            questions = self._entrance.client()
            if self._entrance.closing:
                self._end(b"")
            if not self._entrance.through or self._closing:
                return questions
            self._entrance = None
            self._replies.receive(b"")
        requests = self._requests
        while (words := requests.next()) is not None:
            if not words:
                requests.allow()
                continue
            verb = verb_of(words)
            why = self._withheld(verb, words)
            if why:
                text = f"{verb} is not taken here: {why} (session {self._session})"
                # A second AUTH, a HELLO: what they carry is a password.
                self._refuse(failure("NOPERM", text), Mark.SECRET)
            elif verb == "QUIT":
                self._allow()
                self._left = True
                requests.drain()
                break
            else:
                self._asked = next(self._numbers)
                self._listening |= verb.endswith("SUBSCRIBE")
                return [Command(self._asked, Phase.RUN, shown(words), (part(words),))]
        requests.flush()
        return []

    @staticmethod
    def _withheld(verb: str, words: Sequence[bytes]) -> str:
        if verb == "CLIENT" and len(words) > 1 and words[1].upper() == b"REPLY":
            return "each command has its reply"
        if verb == "HELLO" and len(words) > 2 and b"AUTH" in map(bytes.upper, words[2:]):
            return _WITHHELD["AUTH"]
        return _WITHHELD.get(verb, "")

    def _allow(self) -> None:
        self._requests.allow()
        self._replies.due += 1

    def _refuse(self, error: bytes, mark: Mark = Mark.PLAIN) -> None:
        self._requests.drop(mark)
        word = b"wirewarden_" + self._chance(16).hex().encode()
        self._replies.refuse(word, error)
        self._replies.due += 1
        self._outbox.send(UPSTREAM, command(word), Mark.OURS)

    def _farewell(self, error: WireError) -> None:
        who = "the upstream broke the protocol: " if error.side is UPSTREAM else "Protocol error: "
        self._end(failure("ERR", f"{who}{error.message} (session {self._session})"))

    def _end(self, last: bytes) -> None:
        """``last`` is the final word, where one can stand."""
        self._closing = True
        self._requests.drain()
        self._replies.drain()
        mute = self._entrance is not None and (self._entrance.closing or self._entrance.mute)
        if last and not mute and self._replies.between:
            self._outbox.send(CLIENT, last, Mark.OURS)
