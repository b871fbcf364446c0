"""The upstream side: TLS modes, methods, liars, and talks of their own."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from pg_stage import (
    AUTH_OK,
    CREDENTIAL,
    READY,
    SERVER_KEY,
    STATUSES,
    Stage,
    destined,
    opening,
    scram_server,
    tail,
)

from protocols.contract import Challenge, Destined, Refuse, Upgrade, Upgraded
from protocols.errors import LimitError, WireError
from protocols.postgres import messages
from protocols.postgres.errands import TERMINATE, Canceller, UpstreamErrand
from protocols.postgres.login import doubts, methods, search_path
from protocols.postgres.scram import PLAIN, PLUS
from protocols.wire import Mark, Side

QUERY = messages.frame(b"Q", b"select 1\0")


class One(UpstreamErrand):
    """Asks one query and keeps its first value."""

    def __init__(self, target: Destined, limit: int = 1 << 20) -> None:
        super().__init__(opening(limit=limit), target)
        self.rows: list[bytes] = []
        self.asked = False

    def ready(self, status: bytes) -> bytes:
        if self.asked:
            self.finish(self.rows)
            return b""
        self.asked = True
        return QUERY

    def message(self, kind: bytes, payload: bytes) -> bytes:
        if kind == b"D":
            self.rows.append(payload)
            return b""
        return super().message(kind, payload)


def errand(tls: str = "disable", **more: object) -> tuple[One, Stage]:
    upgraded = more.pop("upgrade", Upgraded())
    talk = One(destined(tls, **more))
    return talk, Stage(talk, upgrade=upgraded)  # type: ignore[arg-type]


STARTUP = messages.startup(
    {
        "user": "svc",
        "database": "shop",
        "client_encoding": "UTF8",
        "standard_conforming_strings": "on",
        "search_path": "public",
    }
)


def asked(stage: Stage) -> list[str]:
    return [q.method for q in stage.questions if isinstance(q, Challenge)]


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_scram_and_body(cut: int) -> None:
    talk, stage = errand()
    assert stage.sent(Side.UPSTREAM) == STARTUP
    for raw in scram_server():
        stage.upstream(raw, cut)
    stage.upstream(AUTH_OK + tail(), cut)
    assert stage.sent(Side.UPSTREAM).endswith(QUERY)
    assert asked(stage) == ["scram-sha-256"]
    row = messages.frame(b"D", b"\0\1\0\0\0\x011")
    stage.upstream(row + messages.frame(b"C", b"SELECT 1\0") + READY, cut)
    assert talk.closing
    assert talk.result == [b"\0\1\0\0\0\x011"]
    assert stage.sent(Side.UPSTREAM).endswith(TERMINATE)
    assert talk.parameters["client_encoding"] == "UTF8"
    stage.check_tiling()
    assert SERVER_KEY in stage.marked(Mark.SECRET)
    assert b",p=" in stage.marked(Mark.SECRET)
    for mark in (Mark.PLAIN, Mark.OURS):
        assert SERVER_KEY not in stage.marked(mark)
        assert b",p=" not in stage.marked(mark)
        assert b"v=" not in stage.marked(mark)


def test_ready_and_rows_in_one_read() -> None:
    talk, stage = errand()
    first, second, third = scram_server()
    stage.upstream(first).upstream(second)
    stage.upstream(third + AUTH_OK + tail() + messages.frame(b"D", b"\0\0") + READY)
    assert talk.result == [b"\0\0"]
    stage.check_tiling()


def test_plus_binds() -> None:
    _, stage = errand("require", upgrade=Upgraded(binding=b"hash"))
    assert stage.sent(Side.UPSTREAM) == messages.SSL_REQUEST
    stage.upstream(b"S")
    assert isinstance(stage.questions[0], Upgrade)
    assert stage.questions[0].side is Side.UPSTREAM
    for raw in scram_server(binding=b"hash", offer=(PLUS, PLAIN)):
        stage.upstream(raw)
    stage.upstream(AUTH_OK + tail())
    assert asked(stage) == ["scram-sha-256-plus"]
    assert stage.sent(Side.UPSTREAM).endswith(QUERY)


def test_server_without_plus_is_told_that_we_could() -> None:
    _, stage = errand("require", upgrade=Upgraded(binding=b"hash"))
    stage.upstream(b"S").upstream(messages.sasl_offer([PLAIN]))
    assert b"y,,n=,r=" in stage.sent(Side.UPSTREAM)


def test_plus_is_demanded_where_it_alone_is_allowed() -> None:
    talk, stage = errand("require", upgrade=Upgraded(binding=b"hash"), auth=["scram-sha-256-plus"])
    stage.upstream(b"S").upstream(messages.sasl_offer([PLAIN]))
    assert talk.closing
    assert "scram-sha-256" in talk.error


def test_plus_without_tls_is_a_lie() -> None:
    talk, stage = errand()
    stage.upstream(messages.sasl_offer([PLUS, PLAIN]))
    assert "without TLS" in talk.error


@pytest.mark.parametrize(
    ("tls", "reply", "goes_on"),
    [
        ("prefer", b"N", True),
        ("allow", b"N", True),
        ("require", b"N", False),
        ("verify-ca", b"N", False),
        ("verify-full", b"N", False),
        ("prefer", b"E", False),
    ],
)
def test_tls_modes(tls: str, reply: bytes, goes_on: bool) -> None:
    talk, stage = errand(tls)
    stage.upstream(reply)
    assert talk.closing is not goes_on
    assert stage.sent(Side.UPSTREAM).endswith(STARTUP) is goes_on


@pytest.mark.parametrize("cut", [0, 1])
def test_bytes_before_tls(cut: int) -> None:
    # CVE-2021-23222: said in the clear, so not said by the server.
    _, stage = errand("require")
    stage.deferred = frozenset({"upgrade"})
    with pytest.raises(WireError) as caught:
        stage.upstream(b"S" + AUTH_OK, cut)
    assert caught.value.side is Side.UPSTREAM
    assert stage.sent(Side.UPSTREAM) == messages.SSL_REQUEST


def test_tls_that_fails() -> None:
    talk, stage = errand("verify-full", upgrade=Refuse("bad certificate", kind="upstream"))
    stage.upstream(b"S")
    assert talk.closing
    assert talk.error == "bad certificate"
    assert talk.result is None


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (messages.authentication(3), "cleartext"),
        (messages.authentication(5, b"salt"), "md5"),
        (AUTH_OK, "trust"),
    ],
)
def test_weak_methods_need_leave(request_: bytes, name: str) -> None:
    talk, stage = errand()
    stage.upstream(request_)
    assert talk.closing
    assert name in talk.error
    assert not asked(stage)
    assert CREDENTIAL not in stage.sent(Side.UPSTREAM)
    talk, stage = errand(auth=[name])
    stage.upstream(request_)
    assert not talk.closing


def test_md5_and_cleartext() -> None:
    _, stage = errand(auth=["md5"])
    stage.upstream(messages.authentication(5, b"salt"))
    inner = hashlib.md5(CREDENTIAL + b"svc").hexdigest().encode()
    digest = b"md5" + hashlib.md5(inner + b"salt").hexdigest().encode()
    assert stage.sent(Side.UPSTREAM).endswith(messages.frame(b"p", digest + b"\0"))
    assert digest in stage.marked(Mark.SECRET)
    _, stage = errand(auth=["cleartext"])
    stage.upstream(messages.authentication(3)).upstream(AUTH_OK + tail())
    assert stage.sent(Side.UPSTREAM).endswith(QUERY)
    assert CREDENTIAL in stage.marked(Mark.SECRET)
    assert CREDENTIAL not in stage.marked(Mark.OURS)


def test_server_that_skips_its_own_proof() -> None:
    _, stage = errand()
    first, second, _ = scram_server()
    stage.upstream(first).upstream(second)
    with pytest.raises(WireError):
        stage.upstream(AUTH_OK)


def test_server_with_a_wrong_signature() -> None:
    talk, stage = errand()
    first, second, _ = scram_server()
    stage.upstream(first).upstream(second)
    stage.upstream(messages.authentication(12, b"v=" + b"A" * 43 + b"="))
    assert talk.closing
    assert "does not know" in talk.error


@pytest.mark.parametrize(
    "out_of_turn",
    [
        messages.authentication(11, b"r=x"),
        messages.authentication(12, b"v="),
        messages.frame(b"K", SERVER_KEY),
        READY,
        messages.frame(b"D", b"\0\0"),
        b"R\0\0\0\3",
        b"R\x7f\xff\xff\xff",
    ],
)
def test_out_of_turn(out_of_turn: bytes) -> None:
    _, stage = errand()
    with pytest.raises(WireError) as caught:
        stage.upstream(out_of_turn)
    assert caught.value.side is Side.UPSTREAM


def test_no_second_challenge() -> None:
    _, stage = errand(auth=["cleartext", "scram-sha-256"])
    stage.upstream(scram_server()[0])
    with pytest.raises(WireError):
        stage.upstream(messages.authentication(3))
    assert CREDENTIAL not in stage.sent(Side.UPSTREAM)


def test_flood_while_it_waits() -> None:
    _, stage = errand()
    stage.deferred = frozenset({"challenge"})
    stage.upstream(scram_server()[0])
    with pytest.raises(LimitError):
        for _ in range(100):
            stage.upstream(bytes(4096))


def test_errors_of_the_server() -> None:
    talk, stage = errand()
    stage.upstream(messages.fatal("3D000", 'database "shop" does not exist'))
    assert "3D000" in talk.error
    talk, stage = errand()
    stage.upstream(messages.fatal("28P01", 'password authentication failed for user "svc"'))
    assert "svc" not in talk.error
    assert "credential was refused" in talk.error


@pytest.mark.parametrize(
    "statuses",
    [
        (),
        (("client_encoding", "SJIS"), STATUSES[1]),
        (STATUSES[0], ("standard_conforming_strings", "off")),
    ],
)
def test_forced_settings_are_checked(statuses: tuple[tuple[str, str], ...]) -> None:
    talk, stage = errand(auth=["trust"])
    stage.upstream(AUTH_OK + tail(statuses=statuses))
    assert talk.closing
    assert "does not confirm" in talk.error
    assert QUERY not in stage.sent(Side.UPSTREAM)


def test_hang_ups() -> None:
    talk, stage = errand()
    stage.end(Side.UPSTREAM)
    assert talk.closing
    assert talk.error
    talk, stage = errand(auth=["trust"])
    stage.upstream(AUTH_OK + tail()).end(Side.UPSTREAM)
    assert talk.closing
    assert talk.result is None
    assert talk.error


def test_error_in_the_body() -> None:
    talk, stage = errand(auth=["trust"])
    stage.upstream(AUTH_OK + tail())
    stage.upstream(messages.report(b"E", "ERROR", "42P01", "no such table"))
    assert talk.closing
    assert "42P01" in talk.error


def test_body_message_limit() -> None:
    talk = One(destined(auth=["trust"]), limit=1000)
    stage = Stage(talk)
    stage.upstream(AUTH_OK + tail())
    with pytest.raises(LimitError):
        stage.upstream(b"D" + (2000).to_bytes(4, "big"))


def test_unknown_methods() -> None:
    assert methods({}) == {"scram-sha-256", "scram-sha-256-plus"}
    assert methods({"auth": ["none"]}) == {"trust"}
    for bad in ("md5", ["scram"], [1]):
        with pytest.raises(ValueError, match="auth"):
            methods({"auth": bad})


@pytest.mark.parametrize("tls", ["disable", "require"])
def test_cancel(tls: str) -> None:
    talk = Canceller(destined(tls), SERVER_KEY)
    stage = Stage(talk)
    if tls == "require":
        assert stage.sent(Side.UPSTREAM) == messages.SSL_REQUEST
        stage.upstream(b"S")
    assert stage.sent(Side.UPSTREAM).endswith(messages.cancel_request(SERVER_KEY))
    assert SERVER_KEY in stage.marked(Mark.SECRET)
    assert not talk.closing
    stage.end(Side.UPSTREAM)
    assert talk.closing
    assert talk.result is True


def test_cancel_that_fails() -> None:
    talk = Canceller(destined("require"), SERVER_KEY)
    stage = Stage(talk)
    stage.upstream(b"N")
    assert talk.closing
    assert talk.result is None
    assert "TLS" in talk.error
    assert SERVER_KEY not in stage.sent(Side.UPSTREAM)


@pytest.mark.parametrize(
    ("path", "sent"), [("app, public", "app, public"), ("", None), ("public", "public")]
)
def test_the_search_path_is_the_targets(path: str, sent: str | None) -> None:
    talk = One(replace(destined("disable"), settings={"search_path": path}))
    first = b"".join(span.raw for span in talk.moves())
    words = dict(zip(*[iter(first[8:-2].decode().split("\0"))] * 2, strict=False))
    assert words.get("search_path") == sent
    assert words["standard_conforming_strings"] == "on"


def test_a_search_path_that_rules_do_not_read_is_doubtful() -> None:
    assert doubts({}) == doubts({"search_path": "public, app"}) == {}
    assert "the server decides" in doubts({"search_path": ""})["search_path"]
    assert "app" in doubts({"search_path": "app, public"})["search_path"]
    for bad in ("a\0b", 5):
        with pytest.raises(ValueError, match="search_path"):
            search_path({"search_path": bad})
