"""The whole entrance of a session, and what it hands over to traffic."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg_stage import (
    AUTH_OK,
    CREDENTIAL,
    KEY,
    NONCE,
    READY,
    SERVER_KEY,
    STATUSES,
    Stage,
    destined,
    opening,
    password,
    scram_server,
    startup,
    status,
    tail,
)

import protocols
from protocols.contract import (
    Allow,
    Answer,
    Cancel,
    Command,
    Destination,
    Destined,
    Done,
    Opening,
    Question,
    Refuse,
    Screen,
    Upgrade,
    Upgraded,
)
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.postgres import conversation, messages
from protocols.postgres.conversation import PostgresConversation
from protocols.postgres.errands import Canceller
from protocols.wire import Mark, Side

REAL_TRAFFIC = conversation.Traffic
HELLO = startup(user="mia", database="shop", application_name="psql")
CLEARTEXT = messages.authentication(3)
KEY_MESSAGE = messages.frame(b"K", KEY)
STATUS_MESSAGES = b"".join(status(*s) for s in STATUSES)
WELCOME = AUTH_OK + STATUS_MESSAGES + KEY_MESSAGE + READY
QUERY = messages.frame(b"Q", b"select 1\0")


class Tape:
    """Stands for traffic: passes all on and remembers how it was called."""

    last: Tape

    def __init__(
        self,
        opening: Opening,
        destined: Destined,
        outbox: Outbox,
        numbers: Iterator[int],
        parameters: dict[str, str],
    ) -> None:
        Tape.last = self
        self.born = (opening, destined, outbox, numbers, parameters)
        self.outbox = outbox
        self.calls: list[object] = []
        self.closing, self.held, self.unforwarded = False, 7, (0, 0)
        self.at_rest = False
        self.moves = outbox.drain

    def receive(self, side: Side, data: bytes) -> list[Question]:
        self.calls.append((side, data))
        self.outbox.pass_on(side, data)
        return []

    def answer(self, number: int, answer: Answer) -> list[Question]:
        self.calls.append((number, answer))
        return []

    def say(self, number: int, text: str) -> None:
        self.calls.append(("say", number, text))

    def withdraw(self, number: int) -> None:
        self.calls.append(("withdraw", number))

    def dismiss(self, refuse: Refuse) -> None:
        self.calls.append(("dismiss", refuse))
        self.closing = True


@pytest.fixture(autouse=True)
def _tape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "Traffic", Tape)


def stage(tls: str = "allow", limit: int = 1 << 20, **answers: Answer) -> Stage:
    return Stage(PostgresConversation(opening(tls, limit)), **answers)


def until_ready(s: Stage, cut: int | Random = 0) -> Stage:
    s.client(HELLO, cut).client(password(b"hush"), cut)
    for raw in scram_server():
        s.upstream(raw, cut)
    return s.upstream(AUTH_OK + tail(), cut)


def test_whole() -> None:
    s = until_ready(stage())
    assert s.sent(Side.CLIENT) == CLEARTEXT + WELCOME
    first = messages.startup(
        {
            "user": "svc",
            "database": "shop",
            "application_name": "psql",
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
            "search_path": "public",
        }
    )
    assert s.sent(Side.UPSTREAM).startswith(first)
    assert [type(q).__name__ for q in s.questions] == [
        "Proof",
        "Proof",
        "Destination",
        "Challenge",
    ]
    assert s.questions[2] == Destination(3, "shop", {"application_name": "psql"})
    s.check_tiling()
    born = Tape.last.born
    assert next(born[3]) == 5
    assert born[4] == dict(STATUSES)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.sampled_from([1, 2, 5]), st.integers().map(Random)))
def test_any_cut(cut: int | Random) -> None:
    pipelined = CLEARTEXT  # any bytes that come behind the login
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversation, "Traffic", Tape)
        runs = []
        for how in (0, cut):
            s = until_ready(stage(), how).upstream(pipelined, how).client(QUERY, how)
            s.check_tiling()
            runs.append((s.questions, s.sent(Side.CLIENT), s.sent(Side.UPSTREAM)))
    assert runs[0] == runs[1]


def test_secrets_are_marked() -> None:
    s = until_ready(stage())
    for secret in (b"hush", SERVER_KEY, KEY, b",p=", b"v="):
        assert secret in s.marked(Mark.SECRET)
        assert secret not in s.marked(Mark.PLAIN) + s.marked(Mark.OURS)
    assert CREDENTIAL not in s.sent(Side.UPSTREAM)


def test_hand_over() -> None:
    s = stage()
    s.client(HELLO).client(password(b"hush") + QUERY)
    assert s.talk.held == len(QUERY)  # type: ignore[attr-defined]
    s.check_tiling()
    first, second, third = scram_server()
    notice = messages.report(b"N", "NOTICE", "00000", "hello")
    s.upstream(first).upstream(second).client(QUERY).upstream(third + AUTH_OK + tail() + notice)
    assert Tape.last.calls == [(Side.UPSTREAM, notice), (Side.CLIENT, QUERY + QUERY)]
    assert s.sent(Side.CLIENT) == CLEARTEXT + WELCOME + notice
    assert s.sent(Side.UPSTREAM).endswith(QUERY + QUERY)
    s.check_tiling()


def test_calls_go_straight_to_traffic() -> None:
    s = until_ready(stage())
    talk, tape = s.talk, Tape.last
    assert isinstance(talk, PostgresConversation)
    assert talk.receive == tape.receive
    assert talk.answer == tape.answer
    assert talk.moves == tape.moves
    assert not talk.at_rest
    talk.say(1, "x")
    talk.withdraw(2)
    talk.receive(Side.CLIENT, b"")
    assert talk.held == 7
    assert not talk.closing
    talk.dismiss(Refuse("bye"))
    assert talk.closing
    assert tape.calls == [
        ("say", 1, "x"),
        ("withdraw", 2),
        (Side.CLIENT, b""),
        ("dismiss", Refuse("bye")),
    ]


def test_cancel_errand() -> None:
    s = stage()
    assert s.talk.cancel() is None  # type: ignore[attr-defined]
    until_ready(s)
    errand = s.talk.cancel()  # type: ignore[attr-defined]
    assert isinstance(errand, Canceller)
    assert Stage(errand).sent(Side.UPSTREAM) == messages.cancel_request(SERVER_KEY)


def test_cancel_request_outlives_its_client() -> None:
    s = stage()
    s.deferred = frozenset({"cancel"})
    s.client(messages.cancel_request(KEY)).end(Side.CLIENT)
    assert s.waiting == [Cancel(1, KEY)]
    assert not s.talk.closing
    s.answer(1, Done(True))
    assert s.talk.closing
    assert s.sent(Side.CLIENT) == b""


def test_tls_on_both_legs() -> None:
    s = stage("require", destination=destined("verify-full"), upgrade=Upgraded())
    s.client(messages.SSL_REQUEST)
    s.client(HELLO).client(password(b"hush")).upstream(b"S")
    assert [q.side for q in s.questions if isinstance(q, Upgrade)] == [
        Side.CLIENT,
        Side.UPSTREAM,
    ]
    for raw in scram_server():
        s.upstream(raw)
    s.upstream(AUTH_OK + tail())
    assert s.sent(Side.CLIENT) == b"S" + CLEARTEXT + WELCOME


@pytest.mark.parametrize("cut", [0, 1])
def test_plain_text_before_tls_kills(cut: int) -> None:
    s = stage()
    s.deferred = frozenset({"upgrade"})
    with pytest.raises(WireError):
        s.client(messages.SSL_REQUEST + HELLO, cut)
    assert s.sent(Side.CLIENT) == b"S"  # an error here would be read as TLS
    assert s.talk.closing
    s.fed[Side.CLIENT][9:] = b""  # cut=1 dies at its first byte too many
    told = b"".join(x.raw for x in s.spans if x.side is Side.CLIENT and x.offset >= 0)
    assert told[:9] == s.fed[Side.CLIENT]


@pytest.mark.parametrize("cut", [0, 1])
def test_wire_error_is_told_and_accounted(cut: int) -> None:
    s = stage()
    s.client(HELLO)
    with pytest.raises(WireError):
        s.client(QUERY, cut)
    assert messages.parse_fields(s.sent(Side.CLIENT)[9 + 5 :], Side.CLIENT)["C"] == "08P01"
    assert s.talk.closing
    s.check_tiling()
    assert b"select" not in s.marked(Mark.PLAIN)


def test_upstream_wire_error() -> None:
    s = stage()
    s.client(HELLO).client(password(b"hush"))
    with pytest.raises(WireError) as caught:
        s.upstream(messages.frame(b"D", b"\0\0"))
    assert caught.value.side is Side.UPSTREAM
    assert b"C08006\0" in s.sent(Side.CLIENT)
    s.check_tiling()


def test_upstream_speaks_too_early() -> None:
    s = stage()
    with pytest.raises(WireError):
        s.upstream(b"x")
    s.check_tiling()


@pytest.mark.parametrize(
    ("kind", "code"), [("target", "3D000"), ("policy", "42501"), ("busy", "53300")]
)
def test_refused_destination(kind: str, code: str) -> None:
    s = stage(destination=Refuse("not there", kind=kind))
    s.client(HELLO).client(password(b"hush"))
    assert s.talk.closing
    assert f"C{code}\0".encode() in s.sent(Side.CLIENT)


def test_refused_credential_is_not_quoted() -> None:
    s = stage()
    s.client(HELLO).client(password(b"hush"))
    s.upstream(messages.fatal("28P01", 'password authentication failed for user "svc"'))
    assert b"svc" not in s.sent(Side.CLIENT)
    assert b"C08006\0" in s.sent(Side.CLIENT)
    assert s.talk.closing


def test_upstream_error_is_named() -> None:
    s = stage(destination=destined(auth=["trust"]))
    s.client(HELLO).client(password(b"hush"))
    s.upstream(AUTH_OK + messages.fatal("3D000", 'database "shop" does not exist'))
    assert b'the upstream said 3D000: database "shop" does not exist' in s.sent(Side.CLIENT)


def test_wrong_settings_are_a_refusal() -> None:
    short = Destined("svc", "shop", "disable", b"short")
    for wrong in (destined(auth=["magic"]), destined("sometimes"), short):
        s = stage(destination=wrong)
        s.client(HELLO).client(password(b"hush"))
        assert s.talk.closing
        assert b"C3D000\0" in s.sent(Side.CLIENT)
        assert s.sent(Side.UPSTREAM) == b""


def test_own_secrets_in_notices() -> None:
    own = Screen(lambda data: [(0, 1)] if b"tok" in data else [], 3)
    s = stage(destination=destined(auth=["trust"], own=own))
    s.client(HELLO).client(password(b"hush"))
    s.upstream(AUTH_OK + messages.report(b"N", "NOTICE", "00000", "tok") + tail())
    assert s.sent(Side.CLIENT) == CLEARTEXT + WELCOME
    s.check_tiling()
    s = stage(destination=destined(auth=["trust"], own=own))
    s.client(HELLO).client(password(b"hush"))
    s.upstream(messages.fatal("57P03", "tok"))
    assert b"tok" not in s.sent(Side.CLIENT)
    assert b"57P03" in s.sent(Side.CLIENT)


def test_say_waits_for_its_place() -> None:
    s = stage(destination=destined(auth=["trust"]))
    s.deferred = frozenset({"destination"})
    s.client(HELLO).client(password(b"hush"))
    number = s.waiting[0].number
    s.talk.say(number, "please wait")  # type: ignore[attr-defined]
    assert s.sent(Side.CLIENT) == CLEARTEXT
    s.answer(number, destined(auth=["trust"])).upstream(AUTH_OK)
    assert b"please wait" in s.sent(Side.CLIENT)
    assert s.sent(Side.CLIENT).startswith(CLEARTEXT + AUTH_OK)


def test_dismiss_everywhere() -> None:
    script = [(Side.CLIENT, HELLO), (Side.CLIENT, password(b"hush"))]
    script += [(Side.UPSTREAM, raw) for raw in (*scram_server(), AUTH_OK)]
    for steps in range(len(script) + 1):
        s = stage()
        for side, raw in script[:steps]:
            s.feed(side, raw)
        s.client(b"p\0")
        s.talk.dismiss(Refuse("draining", kind="shutdown"))  # type: ignore[attr-defined]
        s.spans += s.talk.moves()
        assert s.talk.closing
        assert s.sent(Side.CLIENT).count(b"C57P01\0") == 1
        s.check_tiling()
        s.client(b"late").upstream(b"late")
        s.check_tiling()
        assert s.sent(Side.CLIENT).count(b"C57P01\0") == 1


def test_end_of_stream_everywhere() -> None:
    hello = HELLO + password(b"hush")
    for at in range(len(hello)):
        s = stage()
        s.client(HELLO[:at])
        s.client(hello[len(HELLO) : at])
        s.end(Side.CLIENT)
        assert s.talk.closing
        s.check_tiling()
    answers = b"".join(scram_server()) + AUTH_OK + tail()
    for at in range(0, len(answers) - 1, 3):
        s = stage()
        s.client(HELLO).client(password(b"hush")).upstream(answers[:at], 1)
        s.end(Side.UPSTREAM)
        assert s.talk.closing
        assert b"C08006\0" in s.sent(Side.CLIENT)
        s.check_tiling()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 6), st.binary(min_size=1, max_size=80), st.booleans(), st.integers(0, 12))
def test_only_wire_errors(steps: int, noise: bytes, up: bool, keep: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversation, "Traffic", Tape)
        script = [(Side.CLIENT, HELLO), (Side.CLIENT, password(b"hush"))]
        script += [(Side.UPSTREAM, raw) for raw in (*scram_server(), AUTH_OK)]
        s = stage()
        for side, raw in script[:steps]:
            s.feed(side, raw)
        prefix = script[steps][1][:keep] if steps < len(script) else b""
        side = Side.UPSTREAM if up else Side.CLIENT
        blamed = []
        try:
            s.feed(side, prefix + noise)
        except WireError as error:
            blamed.append(error.side)
        assert blamed in ([], [side])
        assert s.talk.closing or not blamed
        s.check_tiling()


def test_parked_bytes_are_bounded() -> None:
    s = stage(limit=100_000)
    s.client(HELLO).client(password(b"hush"))
    with pytest.raises(LimitError):
        for _ in range(20):
            s.client(bytes(10_000))
    s.check_tiling()


def test_real_traffic_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "Traffic", REAL_TRAFFIC)
    s = stage(command=Allow())
    s.client(HELLO).client(password(b"hush") + QUERY)
    first, second, third = scram_server()
    s.upstream(first).upstream(second).upstream(third + AUTH_OK + tail())
    last = s.questions[-1]
    assert isinstance(last, Command)
    assert (last.number, last.text) == (5, "select 1")
    assert s.sent(Side.UPSTREAM).endswith(QUERY)
    s.upstream(messages.frame(b"C", b"SELECT 0\0") + READY)
    assert s.sent(Side.CLIENT).endswith(messages.frame(b"C", b"SELECT 0\0") + READY)
    s.check_tiling()
    assert s.talk.at_rest  # type: ignore[attr-defined]


def test_kind_is_in_the_table() -> None:
    kind = protocols.load("postgres")
    assert (kind.name, kind.family, kind.port, kind.key_size) == ("postgres", "sql", 5432, len(KEY))
    assert kind.settings == {"auth": list, "search_path": str}
    assert kind.parts("select 1")[0].action in kind.actions
    assert isinstance(kind.start(opening()), PostgresConversation)


def test_nonce_is_chance() -> None:
    s = stage()
    s.client(HELLO).client(password(b"hush")).upstream(scram_server()[0])
    assert b"r=" + NONCE in s.sent(Side.UPSTREAM)
