"""The client side: TLS, startup, cancel, password and SCRAM."""

from __future__ import annotations

import time
from itertools import count

import pytest
from pg_stage import NONCE, opening, password, startup

from protocols.contract import (
    Answer,
    Cancel,
    Done,
    Offer,
    Opening,
    Proof,
    Proven,
    Question,
    Refuse,
    Upgrade,
    Upgraded,
)
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.postgres import messages
from protocols.postgres.greeting import Greeting
from protocols.postgres.scram import PLAIN, PLUS, ScramClient, make_verifier
from protocols.wire import Mark, Move, Side

SSL = messages.SSL_REQUEST
GSS = messages.packet(messages.GSS_CODE)
HELLO = startup(user="mia", database="shop")
CLEARTEXT = messages.authentication(3)


class Porch:
    """A greeting and what it sent."""

    def __init__(self, born: Opening | None = None) -> None:
        self.outbox = Outbox()
        self.greeting = Greeting(born or opening(), self.outbox, count(1))
        self.spans: list[tuple[Move, Mark, bytes]] = []
        self.asked: list[Question] = []

    def say(self, data: bytes, cut: int = 0) -> Porch:
        for at in range(0, len(data), cut or len(data)):
            try:
                self.asked += self.greeting.receive(data[at : at + (cut or len(data))])
            finally:
                self._keep()
        return self

    def answer(self, answer: Answer) -> Porch:
        self.asked += self.greeting.answer(self.asked[-1].number, answer)
        self._keep()
        return self

    def _keep(self) -> None:
        self.spans += [(s.move, s.mark, s.raw) for s in self.outbox.drain()]

    @property
    def sent(self) -> bytes:
        return b"".join(raw for move, _, raw in self.spans if move is Move.SEND)

    @property
    def secret(self) -> bytes:
        return b"".join(raw for _, mark, raw in self.spans if mark is Mark.SECRET)

    @property
    def open_text(self) -> bytes:
        return b"".join(raw for _, mark, raw in self.spans if mark is not Mark.SECRET)

    @property
    def error(self) -> dict[str, str]:
        at = self.sent.rindex(b"E\0\0")
        return messages.parse_fields(self.sent[at + 5 :], Side.CLIENT)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_password(cut: int) -> None:
    p = Porch().say(HELLO, cut)
    assert p.asked == [Proof(1, "mia")]
    p.answer(Offer())
    assert p.sent == CLEARTEXT
    p.say(password(b"hush"), cut)
    assert p.asked[-1] == Proof(2, "mia", secret=b"hush")
    p.answer(Proven("mia"))
    assert p.greeting.done
    assert p.sent == CLEARTEXT  # AuthenticationOk waits for the upstream
    assert p.secret == password(b"hush")
    assert p.greeting.wishes.database == "shop"


def test_long_password() -> None:
    p = Porch().say(HELLO).answer(Offer())
    p.say(password(b"x" * 65536))
    assert isinstance(p.asked[-1], Proof)
    p = Porch().say(HELLO).answer(Offer())
    with pytest.raises(LimitError):
        p.say(password(b"x" * 65537))


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("supports", [False, True])
def test_scram(cut: int, supports: bool) -> None:
    verifier = make_verifier(b"pencil", b"salt")
    p = Porch().say(HELLO).answer(Offer(verifier))
    assert p.sent == messages.sasl_offer([PLAIN])
    c = ScramClient(b"pencil", b"abc", supports=supports)
    p.say(messages.sasl_initial(PLAIN, c.first()), cut)
    challenge = p.spans[-1][2][9:]
    assert challenge.startswith(b"r=abc" + NONCE)
    p.say(messages.frame(b"p", c.final(challenge)), cut)
    assert p.asked[-1] == Proof(2, "mia", scram=True)
    p.answer(Proven("mia"))
    assert p.greeting.done
    c.verify(p.spans[-1][2][9:])
    assert b"p=" not in p.open_text
    assert b"v=" not in p.open_text


def test_scram_binds_to_the_gateway() -> None:
    p = Porch(opening("require")).say(SSL).answer(Upgraded(binding=b"hash")).say(HELLO)
    p.answer(Offer(make_verifier(b"pencil", b"salt")))
    assert messages.sasl_offer([PLUS, PLAIN]) in p.sent
    c = ScramClient(b"pencil", b"abc", binding=b"hash")
    p.say(messages.sasl_initial(PLUS, c.first()))
    p.say(messages.frame(b"p", c.final(p.spans[-1][2][9:])))
    assert p.asked[-1] == Proof(3, "mia", scram=True)


def test_wrong_scram_password() -> None:
    p = Porch().say(HELLO).answer(Offer(make_verifier(b"pencil", b"salt")))
    c = ScramClient(b"wrong", b"abc")
    p.say(messages.sasl_initial(PLAIN, c.first()))
    p.say(messages.frame(b"p", c.final(p.spans[-1][2][9:])))
    assert p.greeting.closing
    assert len(p.asked) == 1
    assert (p.error["C"], p.error["M"]) == (
        "28P01",
        'password authentication failed for user "mia"',
    )


def test_scram_refused_after_the_proof() -> None:
    p = Porch().say(HELLO).answer(Offer(make_verifier(b"pencil", b"salt")))
    c = ScramClient(b"pencil", b"abc")
    p.say(messages.sasl_initial(PLAIN, c.first()))
    p.say(messages.frame(b"p", c.final(p.spans[-1][2][9:])))
    p.answer(Refuse("expired", kind="identity"))
    assert p.error["C"] == "28P01"
    assert b"v=" not in p.sent


@pytest.mark.parametrize(
    "bad",
    [
        messages.frame(b"p", b"hush"),
        messages.frame(b"p", b"hu\0sh\0"),
        messages.frame(b"Q", b"select 1\0"),
        b"p\0\0\0\3",
    ],
)
def test_bad_password_messages(bad: bytes) -> None:
    with pytest.raises(WireError) as caught:
        Porch().say(HELLO).answer(Offer()).say(bad)
    assert caught.value.side is Side.CLIENT
    assert b"hush" not in str(caught.value).encode()


@pytest.mark.parametrize(
    "bad",
    [
        messages.sasl_initial(PLUS, b"p=tls-server-end-point,,n=,r=abc"),
        messages.sasl_initial("SCRAM-SHA-1", b"n,,n=,r=abc"),
        messages.sasl_initial(PLAIN, b"p=tls-server-end-point,,n=,r=abc"),
        messages.sasl_initial(PLAIN, b"n,,n=,r="),
        password(b"hush"),
    ],
)
def test_bad_sasl_messages(bad: bytes) -> None:
    p = Porch().say(HELLO).answer(Offer(make_verifier(b"pencil", b"salt")))
    with pytest.raises(WireError):
        p.say(bad)


def test_empty_password_and_goodbye() -> None:
    p = Porch().say(HELLO).answer(Offer()).say(password(b""))
    assert p.greeting.closing
    assert p.error["C"] == "28P01"
    p = Porch().say(HELLO).answer(Offer()).say(messages.frame(b"X", b""))
    assert p.greeting.closing
    assert p.sent == CLEARTEXT


def test_refusals() -> None:
    # Before any evidence the reason would tell a stranger who exists.
    p = Porch().say(HELLO).answer(Refuse("no such principal", kind="identity"))
    assert p.error["C"] == "28P01"
    assert b"no such" not in p.sent
    p = Porch().say(HELLO).answer(Offer()).say(password(b"jwt"))
    p.answer(Refuse("the token has expired", kind="identity"))
    assert p.error["D"] == "the token has expired"
    assert "s-1" in p.error["H"]
    p = Porch().say(HELLO).answer(Refuse("draining", kind="shutdown"))
    assert (p.error["C"], p.error["M"]) == ("57P01", "draining")


# TLS


@pytest.mark.parametrize("cut", [0, 1])
def test_ssl(cut: int) -> None:
    p = Porch(opening("require")).say(SSL, cut)
    assert p.sent == b"S"
    assert p.asked == [Upgrade(1, Side.CLIENT)]
    p.answer(Upgraded()).say(HELLO, cut)
    assert p.asked[-1] == Proof(2, "mia")


@pytest.mark.parametrize("cut", [0, 1])
def test_plain_text_behind_ssl_request(cut: int) -> None:
    # CVE-2021-23214
    p = Porch()
    with pytest.raises(WireError) as caught:
        p.say(SSL + HELLO, cut)
    assert caught.value.side is Side.CLIENT
    assert p.sent == b"S"
    assert p.greeting.mute
    assert not any(isinstance(q, Proof) for q in p.asked)


def test_ssl_off_and_gss() -> None:
    p = Porch(opening("off")).say(GSS).say(SSL)
    assert p.sent == b"NN"
    assert p.say(HELLO).asked == [Proof(1, "mia")]
    p = Porch(opening("require")).say(GSS).say(SSL)
    assert p.sent == b"NS"


@pytest.mark.parametrize("first", [SSL + SSL, GSS + GSS, GSS + SSL + GSS])
def test_asking_twice(first: bytes) -> None:
    p = Porch(opening("off"))
    with pytest.raises(WireError):
        p.say(first)


@pytest.mark.parametrize("inner", [SSL, GSS])
def test_asking_within_tls(inner: bytes) -> None:
    p = Porch(opening("require")).say(SSL).answer(Upgraded())
    with pytest.raises(WireError):
        p.say(inner)


def test_direct_tls() -> None:
    p = Porch(opening("require")).say(b"\x16\x03\x01hello")
    assert p.asked == [Upgrade(1, Side.CLIENT, b"\x16\x03\x01hello", "postgresql")]
    assert p.sent == b""
    p.answer(Upgraded(alpn="postgresql")).say(HELLO)
    assert p.asked[-1] == Proof(2, "mia")
    with pytest.raises(WireError):
        Porch().say(b"\x16hello").answer(Upgraded(alpn="postgresql")).say(SSL)


def test_direct_tls_without_alpn() -> None:
    p = Porch().say(b"\x16hello").answer(Upgraded())
    assert p.greeting.closing
    assert "ALPN" in p.error["M"]


def test_direct_tls_where_tls_is_off() -> None:
    with pytest.raises(WireError):
        Porch(opening("off")).say(b"\x16\x03\x01\0\0\0\0\0")


def test_failed_handshake_is_silent() -> None:
    p = Porch().say(SSL).answer(Refuse("handshake failed"))
    assert p.greeting.closing
    assert p.sent == b"S"


def test_plain_startup_where_tls_is_required() -> None:
    p = Porch(opening("require")).say(HELLO)
    assert p.greeting.closing
    assert p.error["C"] == "28000"
    assert "sslmode=require" in p.error["H"]
    assert not p.asked


# Startup and cancel


@pytest.mark.parametrize(
    ("hello", "note"),
    [
        (startup(0, user="mia"), b""),
        (startup(2, user="mia"), b""),
        (startup(3, user="mia"), messages.negotiate(2, [])),
        (startup(9999, user="mia"), messages.negotiate(2, [])),
        (startup(0, user="mia", **{"_pq_.x": "1"}), messages.negotiate(0, ["_pq_.x"])),
        (startup(2, user="mia", **{"_pq_.x": "1"}), messages.negotiate(2, ["_pq_.x"])),
    ],
)
def test_versions(hello: bytes, note: bytes) -> None:
    p = Porch().say(hello)
    assert p.sent == note
    assert p.asked == [Proof(1, "mia")]


def test_old_versions() -> None:
    p = Porch().say(messages.packet(2 << 16, b"user\0mia\0\0"))
    assert p.error["C"] == "0A000"


def test_refused_parameters() -> None:
    p = Porch().say(startup(user="mia", replication="database"))
    assert p.greeting.closing
    assert "replication" in p.error["M"]
    p = Porch().say(startup(user="mia", search_path="evil"))
    assert "search_path" in p.error["M"]


def test_startup_size() -> None:
    fits = startup(user="x" * 9989)
    assert len(fits) == 10_004
    assert Porch().say(fits).asked
    with pytest.raises(LimitError):
        Porch().say(startup(user="x" * 9990)[:4])
    for small in (0, 4, 7):
        with pytest.raises(WireError):
            Porch().say(small.to_bytes(4, "big"))
    with pytest.raises(WireError):
        Porch().say(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("secret", [b"abcd", bytes(256)])
def test_cancel(secret: bytes) -> None:
    p = Porch(opening("require")).say(messages.cancel_request(b"\0\0\0\7" + secret))
    assert p.asked == [Cancel(1, b"\0\0\0\7" + secret)]
    p.answer(Done(True))
    assert p.greeting.closing
    assert p.sent == b""
    assert secret in p.secret


@pytest.mark.parametrize("size", [4, 7, 261])
def test_bad_cancel(size: int) -> None:
    p = Porch()
    with pytest.raises(WireError):
        p.say(messages.cancel_request(bytes(size)))
    assert p.greeting.mute


def test_wrong_answers() -> None:
    p = Porch().say(HELLO)
    with pytest.raises(TypeError):
        p.answer(Done())
    with pytest.raises(KeyError):
        p.greeting.answer(99, Offer())
    p.answer(Offer())
    with pytest.raises(KeyError):
        p.greeting.answer(1, Offer())


def test_early_bytes_are_bounded() -> None:
    p = Porch(opening(limit=100_000)).say(HELLO)
    with pytest.raises(LimitError):
        for _ in range(20):
            p.say(bytes(10_000))


def test_bytewise_is_linear() -> None:
    def seconds(size: int) -> float:
        p = Porch().say(HELLO).answer(Offer())
        raw = password(b"x" * size)
        began = time.perf_counter()
        p.say(raw, 1)
        return time.perf_counter() - began

    small = min(seconds(8_000) for _ in range(3))
    large = min(seconds(64_000) for _ in range(3))
    assert large < 8 * small * 3  # eight times the bytes; the slack is for noise
