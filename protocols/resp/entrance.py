"""Until a session is logged in: TLS, AUTH or HELLO by the client, then the
gateway's own AUTH and SELECT upstream.

Nothing of what the client says here leaves: AUTH is taken as the proof (its
password is a token, a ticket or a password of the gateway), and a HELLO goes
upstream anew, without it, once both legs are up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from protocols.contract import (
    Answer,
    Challenge,
    Credential,
    Destination,
    Destined,
    Offer,
    Opening,
    Proof,
    Proven,
    Question,
    Refuse,
    Upgrade,
    Upgraded,
)
from protocols.outbox import Outbox
from protocols.resp.replies import Replies
from protocols.resp.requests import Requests
from protocols.resp.verbs import verb_of
from protocols.resp.words import OK, command, failure, refusal
from protocols.wire import Mark, Side

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
LIMIT: Final = 64 << 10
"""Bytes of one command before the proof."""
_TLS: Final = 0x16
_VERSIONS: Final = (b"2", b"3")
_DATABASE: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_MODES: Final = ("disable", "require", "verify-ca", "verify-full")


class Entrance:
    """``through`` once the client may send commands, ``closing`` once it must
    go. ``pending`` is the number of the question that waits, 0 for none."""

    def __init__(
        self,
        opening: Opening,
        outbox: Outbox,
        requests: Requests,
        replies: Replies,
        numbers: Iterator[int],
    ) -> None:
        self.through = False
        self.closing = False
        self.pending = 0
        self.aside = ""
        """What the server said when it refused us: for the operator only."""
        self._opening = opening
        self._outbox = outbox
        self._requests = requests
        self._replies = replies
        self._numbers = numbers
        self._encrypted = False
        self._asked: Question | None = None
        self._proof = b""
        self._claimed = self._requested = ""
        self._hello: list[bytes] = []
        self._destined: Destined | None = None
        self._steps: list[tuple[bytes, str]] = []  # commands of ours, and what they are for
        requests.limit = min(LIMIT, opening.limit)

    @property
    def mute(self) -> bool:
        """True while the client waits for TLS, where no word of ours can stand."""
        return bool(self.pending) and isinstance(self._asked, Upgrade) and self._destined is None

    @property
    def logging_in(self) -> bool:
        """True while the server owes an answer to a command of ours."""
        return bool(self._steps) and not self.pending

    def client(self) -> list[Question]:
        """Read on what the client said."""
        requests = self._requests
        while not (self.pending or self.closing or self.through or self._destined):
            if not self._encrypted and requests.first() >= 0:
                if requests.first() == _TLS and self._opening.tls != "off":
                    self._encrypted = True
                    return [self._ask(Upgrade(self._next(), CLIENT, requests.drain(Mark.PLAIN)))]
                if self._opening.tls == "require":
                    self.refuse(Refuse("the gateway requires TLS", kind="identity"))
                    break
            words = requests.next()
            if words is None:
                break
            requests.drop(Mark.SECRET)
            if words and (question := self._greet(words)) is not None:
                return [question]
        return []

    def upstream(self, data: bytes) -> None:
        """What the server says of our AUTH and SELECT."""
        while self._steps and not self.closing:
            line = self._replies.line(data)
            data = b""
            if line is None:
                return
            _, what = self._steps.pop(0)
            if line != b"+OK":
                # Not quoted to the client: it names what it must not see.
                quotes = self._replies.own is not None and self._replies.own.spans(line)
                self.aside = "" if quotes else line[:512].decode("utf-8", "backslashreplace")
                self.refuse(Refuse(f"the upstream refused {what}", kind="upstream"))
            else:
                self._next_step()

    def answer(self, answer: Answer) -> list[Question]:
        """The answer to what is ``pending``."""
        asked = self._asked
        number, self.pending = self.pending, 0
        if isinstance(answer, Refuse):
            if isinstance(asked, Upgrade) and self._destined is None:
                self.closing = True
            self.refuse(answer)
        elif isinstance(asked, Upgrade) and isinstance(answer, Upgraded):
            if self._destined is not None:
                return self._log_in(self._destined)
        elif isinstance(asked, Proof) and isinstance(answer, Offer):
            secret, self._proof = self._proof, b""
            return [self._ask(Proof(self._next(), self._claimed, secret))]
        elif isinstance(asked, Proof) and isinstance(answer, Proven):
            return [self._ask(Destination(self._next(), self._requested, {}))]
        elif isinstance(asked, Destination) and isinstance(answer, Destined):
            return self._route(answer)
        elif isinstance(asked, Challenge) and isinstance(answer, Credential):
            assert self._destined is not None
            user = self._destined.user.encode()
            # Redis before 6 knows no users but this one, and no AUTH of two words.
            who = () if user == b"default" else (user,)
            words = (b"AUTH", *who, answer.password)
            self._steps.insert(0, (command(*words), "the gateway's credential"))
            self._next_step()
        else:
            self.pending = number
            raise TypeError(f"{type(answer).__name__} is no answer here")
        return []

    def refuse(self, refuse: Refuse) -> None:
        """The last word to the client."""
        if not self.closing:
            self._outbox.send(CLIENT, refusal(refuse, self._opening.session), Mark.OURS)
        self.closing = True

    def _ask(self, question: Question) -> Question:
        self._asked = question
        self.pending = question.number
        return question

    def _next(self) -> int:
        return next(self._numbers)

    def _greet(self, words: Sequence[bytes]) -> Question | None:
        verb = verb_of(words)
        if verb == "QUIT":
            self._say(OK)
            self.closing = True
        elif verb == "AUTH" and len(words) in (2, 3):
            return self._claim(words[1] if len(words) == 3 else b"default", words[-1])
        elif verb == "HELLO":
            return self._hello_proof(words)
        else:
            self._say(failure("NOAUTH", "Authentication required."))
        return None

    def _hello_proof(self, words: Sequence[bytes]) -> Question | None:
        """HELLO [protover [AUTH username password] [SETNAME name]]."""
        rest = list(words[1:])
        if rest and rest[0] not in _VERSIONS:
            self._say(failure("NOPROTO", "unsupported protocol version"))
            return None
        hello, rest = [b"HELLO", *rest[:1]], rest[1:]
        auth: tuple[bytes, bytes] | None = None
        while rest:
            option = rest[0].upper()
            if option == b"AUTH" and len(rest) > 2 and auth is None:
                auth, rest = (rest[1], rest[2]), rest[3:]
            elif option == b"SETNAME" and len(rest) > 1:
                hello, rest = [*hello[:2], b"SETNAME", rest[1]], rest[2:]
            else:
                self._say(failure("ERR", "Syntax error in HELLO"))
                return None
        if auth is None:
            self._say(failure("NOAUTH", "HELLO must be called with AUTH here"))
            return None
        self._hello = hello
        return self._claim(*auth)

    def _claim(self, name: bytes, secret: bytes) -> Question | None:
        """``name`` may be ``<name>@<target>`` where a listener has many."""
        try:
            claimed = name.decode("utf-8")
        except UnicodeDecodeError:
            self._say(failure("WRONGPASS", "a name that is not UTF-8"))
            return None
        self._claimed, _, self._requested = claimed.partition("@")
        self._proof = secret
        return self._ask(Proof(self._next(), self._claimed))

    def _route(self, destined: Destined) -> list[Question]:
        wrong = _unfit(destined)
        if wrong:
            self.refuse(Refuse(f"the target's settings are wrong: {wrong}", kind="target"))
            return []
        self._destined = destined
        if destined.tls != "disable":
            return [self._ask(Upgrade(self._next(), UPSTREAM))]
        return self._log_in(destined)

    def _log_in(self, destined: Destined) -> list[Question]:
        self._replies.own = destined.own
        if destined.database:
            database = destined.database.encode("ascii")
            self._steps.append((command(b"SELECT", database), "the database"))
        if "none" not in _methods(destined):
            return [self._ask(Challenge(self._next(), "cleartext"))]
        self._next_step()
        return []

    def _next_step(self) -> None:
        if self._steps:
            raw, what = self._steps[0]
            secret = Mark.OURS if what == "the database" else Mark.SECRET
            self._outbox.send(UPSTREAM, raw, secret)
            return
        self.through = True
        self._requests.limit = self._opening.limit
        if self._hello:
            self._outbox.send(UPSTREAM, command(*self._hello), Mark.OURS)
            self._replies.due += 1
        else:
            self._say(OK)

    def _say(self, raw: bytes) -> None:
        self._outbox.send(CLIENT, raw, Mark.OURS)


def _methods(destined: Destined) -> tuple[str, ...]:
    methods = destined.settings.get("auth", ())
    return tuple(methods) if isinstance(methods, list | tuple) else ()


def _unfit(destined: Destined) -> str:
    """Why Redis can't be logged in to like this, "" when it can."""
    if destined.tls not in _MODES:
        return f'tls = "{destined.tls}" (Redis does not negotiate it)'
    if not {"cleartext", "none"} & set(_methods(destined)):
        return 'auth must have "cleartext", all that Redis knows, or "none"'
    if destined.database and not _DATABASE.fullmatch(destined.database):
        return "a database of Redis is a number"
    return ""
