"""A stage for login tests: a relay that answers at once, and a SCRAM server."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from random import Random

from protocols.contract import (
    Answer,
    Credential,
    Destined,
    Done,
    Exchange,
    Offer,
    Opening,
    Proof,
    Proven,
    Question,
    Upgraded,
)
from protocols.postgres import messages
from protocols.postgres.scram import PLAIN, PLUS, ScramClient, ScramServer, make_verifier
from protocols.wire import Mark, Move, Side, Span

KEY = b"\x00\x00\x10\x01oooo"
SERVER_KEY = b"\x00\x00\x20\x02ssss"
CREDENTIAL = b"upstream-secret"
NONCE = b64encode(bytes(18))
STATUSES = (("client_encoding", "UTF8"), ("standard_conforming_strings", "on"))
AUTH_OK = messages.authentication(0)
READY = messages.frame(b"Z", b"I")


def opening(tls: str = "allow", limit: int = 1 << 20) -> Opening:
    return Opening("s-1", bytes, tls, limit)


def destined(tls: str = "disable", **more: object) -> Destined:
    settings = {"auth": list(more.pop("auth", ["scram-sha-256"]))}  # type: ignore[call-overload]
    return Destined("svc", "shop", tls, KEY, settings=settings, **more)  # type: ignore[arg-type]


def startup(minor: int = 0, **parameters: str) -> bytes:
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items())
    return messages.packet(messages.V3 | minor, body + b"\0")


def password(secret: bytes) -> bytes:
    return messages.frame(b"p", secret + b"\0")


def status(name: str, value: str) -> bytes:
    return messages.frame(b"S", f"{name}\0{value}\0".encode())


def tail(key: bytes = SERVER_KEY, statuses: Iterable[tuple[str, str]] = STATUSES) -> bytes:
    """What a server says behind AuthenticationOk."""
    return b"".join(status(*s) for s in statuses) + messages.frame(b"K", key) + READY


def scram_server(
    secret: bytes = CREDENTIAL,
    binding: bytes | None = None,
    offer: tuple[str, ...] = (PLAIN,),
    check_as: bytes = CREDENTIAL,
) -> tuple[bytes, bytes, bytes]:
    """The three authentication requests of a server that knows ``secret``, to
    a client whose nonce is ``NONCE``."""
    plus = PLUS in offer and binding is not None
    client = ScramClient(check_as, NONCE, binding if plus else None, supports=binding is not None)
    server = ScramServer(make_verifier(secret, b"salt"), b"theirs", binding if plus else None)
    challenge = server.challenge(client.mechanism, client.first())
    outcome = server.check(client.final(challenge))
    return (
        messages.sasl_offer(offer),
        messages.authentication(messages.AUTH_SASL_CONTINUE, challenge),
        messages.authentication(messages.AUTH_SASL_FINAL, outcome),
    )


class Stage:
    """Feeds a talk, answers its questions at once, keeps all that came of it."""

    def __init__(self, talk: Exchange, **answers: Answer | Callable[[Question], Answer]) -> None:
        self.talk = talk
        self.answers = answers
        self.questions: list[Question] = []
        self.waiting: list[Question] = []
        self.spans: list[Span] = list(talk.moves())
        self.fed = [bytearray(), bytearray()]
        self.deferred: frozenset[str] = frozenset()

    def feed(self, side: Side, data: bytes, cut: int | Random = 0) -> Stage:
        """Feed ``data`` whole (0), in pieces of ``cut``, or cut at random."""
        at = 0
        while at < len(data):
            step = cut.randint(1, 40) if isinstance(cut, Random) else (cut or len(data))
            piece = data[at : at + step]
            at += len(piece)
            self.fed[side] += piece
            try:
                self._ask(self.talk.receive(side, piece))
            finally:
                self.spans += self.talk.moves()
        return self

    def client(self, data: bytes, cut: int | Random = 0) -> Stage:
        return self.feed(Side.CLIENT, data, cut)

    def upstream(self, data: bytes, cut: int | Random = 0) -> Stage:
        return self.feed(Side.UPSTREAM, data, cut)

    def end(self, side: Side) -> Stage:
        self._ask(self.talk.receive(side, b""))
        self.spans += self.talk.moves()
        return self

    def answer(self, number: int, answer: Answer) -> Stage:
        self._ask(self.talk.answer(number, answer))
        self.spans += self.talk.moves()
        return self

    def sent(self, side: Side) -> bytes:
        """All that has left on ``side``."""
        out = bytearray()
        for span in self.spans:
            mine = span.side is side
            if (span.move is Move.SEND and mine) or (
                span.move in (Move.PASS, Move.FORWARD) and not mine
            ):
                out += span.raw
        return bytes(out)

    def marked(self, mark: Mark) -> bytes:
        return b"".join(s.raw for s in self.spans if s.mark is mark)

    def check_tiling(self) -> None:
        """Every byte that arrived is told of once, in order, or still due."""
        due = getattr(self.talk, "unforwarded", (0, 0))
        for side in Side:
            told = bytearray()
            for span in self.spans:
                if span.side is side and span.move in (Move.PASS, Move.TAKE):
                    assert span.offset == len(told)
                    told += span.raw
            fed = self.fed[side]
            assert fed[: len(told)] == told
            assert len(fed) - len(told) == due[side]

    def _ask(self, questions: list[Question]) -> None:
        queue = list(questions)
        while queue:
            question = queue.pop(0)
            self.questions.append(question)
            name = type(question).__name__.lower()
            if isinstance(question, Proof) and (question.secret is not None or question.scram):
                name = "proof2"
            if name in self.deferred:
                self.waiting.append(question)
                continue
            answer = self.answers.get(name, DEFAULTS.get(name))
            assert answer is not None, name
            if callable(answer):
                answer = answer(question)
            queue += self.talk.answer(question.number, answer)


DEFAULTS: dict[str, Answer] = {
    "upgrade": Upgraded(),
    "proof": Offer(),
    "proof2": Proven("mia"),
    "destination": destined(),
    "challenge": Credential(CREDENTIAL),
    "cancel": Done(True),
}
