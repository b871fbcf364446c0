"""Laws of the query phase, on scripts and cuts that nobody chose."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg_kit import (
    CLIENT,
    FLUSH,
    SYNC,
    UPSTREAM,
    Server,
    Session,
    bind,
    close,
    columns,
    complete,
    describe,
    error,
    execute,
    f,
    frames,
    kinds,
    parse,
    query,
    ready,
    row,
)

from protocols.contract import Allow, Answer, Command, Phase, Question, Refuse
from protocols.errors import WireError
from protocols.wire import Mark, Move, Side

RESULTS = {
    "select 1": columns("a") + row(b"1") + complete("SELECT 1"),
    "select 2": columns("a") + row(b"2") + row(b"3") + complete("SELECT 2"),
    "delete from t": complete("DELETE 5"),
    "fail": error("22012", "division by zero"),
}
TEXTS = [*RESULTS, "nonsense", "delete from nowhere"]
NAMES = st.sampled_from(["", "a", "b"])
MESSAGES = st.one_of(
    st.sampled_from(TEXTS).map(query),
    st.builds(parse, NAMES, st.sampled_from(TEXTS)),
    st.builds(bind, NAMES, NAMES),
    st.builds(execute, NAMES),
    st.builds(describe, st.sampled_from("SP"), NAMES),
    st.builds(close, st.sampled_from("SP"), NAMES),
    st.sampled_from([SYNC, FLUSH, f("d", b"x"), f("c")]),
)
SCRIPTS = st.lists(MESSAGES, min_size=1, max_size=14).map(lambda m: [*m, SYNC])


def no_deletes(question: Question) -> Answer:
    assert isinstance(question, Command)
    return Refuse("no", "r") if "delete" in question.text else Allow()


def play(
    reads: list[bytes], *, cut: int = 0, late: bool = False, judge: object = no_deletes
) -> tuple[Session, Server]:
    """All of the client first, then the server at its own pace."""
    server = Server(RESULTS)
    s = Session(judge if not late else lambda q: None)  # type: ignore[arg-type]

    def pump() -> None:
        raw = s.take(UPSTREAM)
        reply = server.receive(raw) if raw else b""
        step = cut or len(reply) or 1
        for at in range(0, len(reply), step):
            s.server(reply[at : at + step])

    for read in reads:
        s.client(read)
        while s.waiting:
            s.answer(judge(s.waiting[0]))  # type: ignore[operator]
    for _ in range(len(b"".join(reads))):
        if len(s.sent[UPSTREAM]) == s.read[UPSTREAM]:
            break
        pump()
        while s.waiting:
            s.answer(judge(s.waiting[0]))  # type: ignore[operator]
    return s, server


@given(SCRIPTS)
@settings(max_examples=150, deadline=None)
def test_allow_is_the_identity(script: list[bytes]) -> None:
    """But for CopyData that nobody asked for, and Binds to unknown names."""
    script = [m for m in script if m[:1] not in b"dcB"]
    s, _ = play(script, judge=lambda q: Allow())
    assert s.sent[UPSTREAM] == b"".join(script)
    alone = Server(RESULTS)
    assert s.sent[CLIENT] == alone.receive(b"".join(script))


@given(SCRIPTS)
@settings(max_examples=200, deadline=None)
def test_a_refusal_looks_like_a_failing_statement(script: list[bytes]) -> None:
    """The client sees what a server would send that fails what was refused:
    same kinds of messages, and nothing refused has run."""
    s, server = play(script)

    class Refusing(Server):
        def run(self, text: str) -> tuple[bytes, bool]:
            if "delete" in text:
                return error("42501", "no"), False
            return super().run(text)

        def on_P(self, body: bytes) -> tuple[bytes, bool]:
            if b"delete" in body:
                return error("42501", "no"), False
            return super().on_P(body)

    model = Refusing(RESULTS)
    expected = model.receive(b"".join(script))
    assert kinds(s.sent[CLIENT]) == kinds(expected)
    assert all("delete" not in text for text in server.ran)
    assert b"delete" not in s.sent[UPSTREAM]
    assert b"wirewarden_" not in s.sent[CLIENT]


@given(SCRIPTS, st.integers(1, 40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_cuts_and_late_answers_change_nothing(script: list[bytes], cut: int, late: bool) -> None:
    whole = b"".join(script)
    base, _ = play([whole])
    pieces = [whole[a:b] for a, b in pairwise([*range(0, len(whole), cut), len(whole)])]
    other, _ = play(pieces, cut=cut, late=late)
    assert other.sent == base.sent
    assert other.questions == base.questions


@given(SCRIPTS, st.data())
@settings(max_examples=80, deadline=None)
def test_the_end_of_the_stream_at_every_offset(script: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(script)
    at = data.draw(st.integers(0, len(whole)))
    s = Session(no_deletes)
    if at:
        s.client(whole[:at])
    s.client(b"")
    assert s.traffic.closing
    assert s.traffic.unforwarded == (0, 0)
    assert kinds(s.sent[UPSTREAM])[-1] == "X"


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_the_end_of_the_server_at_every_offset(at: int) -> None:
    s = Session()
    s.client(query("select 1"))
    back = RESULTS["select 1"] + ready()
    if back[:at]:
        s.server(back[:at])
    s.server(b"")
    assert s.traffic.closing
    assert s.traffic.unforwarded == (0, 0)
    assert frames(s.sent[CLIENT])[-1][0] == "E"


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), SCRIPTS, st.data())
@settings(max_examples=300, deadline=None)
def test_only_wire_errors_under_noise(
    noise: list[bytes], script: list[bytes], data: st.DataObject
) -> None:
    s = Session(no_deletes)
    server = Server(RESULTS)
    reads: list[tuple[Side, bytes]] = [(UPSTREAM, n) for n in noise]
    reads += [(CLIENT, m) for m in script]
    for n in data.draw(st.lists(st.binary(min_size=5, max_size=40), max_size=3)):
        reads.append((CLIENT, n))
    for side, raw in data.draw(st.permutations(reads)):
        try:
            s.feed(side, raw)
            if reply := server.receive(s.take(UPSTREAM)):
                s.server(reply)
        except WireError:
            assert s.traffic.closing
            break
        if s.traffic.closing:
            break
    assert b"delete" not in s.sent[UPSTREAM]


@given(SCRIPTS, st.data())
@settings(max_examples=200, deadline=None)
def test_broken_frames_of_the_server(script: list[bytes], data: st.DataObject) -> None:
    """One byte of what the server says is flipped."""
    server = Server(RESULTS)
    s = Session(no_deletes)
    s.client(b"".join(script))
    reply = bytearray(server.receive(s.take(UPSTREAM)))
    at = data.draw(st.integers(0, len(reply) - 1))
    reply[at] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(WireError):
        s.server(bytes(reply))
        return
    assert s.traffic.closing


def test_every_span_of_a_refusal_has_its_mark() -> None:
    s, _ = play([query("delete from t") + query("select 1")])
    ours = [x for x in s.spans if x.mark is Mark.OURS]
    assert [(x.move, x.side) for x in ours] == [(Move.SEND, UPSTREAM), (Move.SEND, CLIENT)]
    assert kinds(ours[0].raw) == "Q"
    assert kinds(ours[1].raw) == "E"


@given(SCRIPTS, st.integers(0, 1 << 32))
@settings(max_examples=300, deadline=None)
def test_no_name_ever_runs_what_was_not_judged(script: list[bytes], seed: int) -> None:
    """Anything may be prepared, no delete may be run, and the server is as
    slow as it likes: what a name means is always what is judged."""

    def judge(question: Question) -> Answer:
        assert isinstance(question, Command)
        gone = question.phase is Phase.RUN and "delete" in question.text
        return Refuse("no", "r") if gone else Allow()

    s, server = Session(judge), Server(RESULTS)
    todo = list(script)
    unread = b""
    pace = Random(seed)
    while todo or unread or len(s.sent[UPSTREAM]) > s.read[UPSTREAM]:
        if todo and pace.random() < 0.6:
            s.client(todo.pop(0))
        unread += s.take(UPSTREAM)
        if unread and (not todo or pace.random() < 0.5):
            size = 1 + int.from_bytes(unread[1:5], "big")
            reply = server.receive(unread[:size])
            unread = unread[size:]
            if reply:
                s.server(reply)
    assert s.traffic.held == 0, "the lane waits for nothing"
    assert all("delete" not in text for text in server.ran)
    judged = {q.text for q in s.commands if q.phase is Phase.RUN}
    assert {t for t in server.ran if not t.startswith("wirewarden_")} <= judged
    assert len(server.ran) <= len(s.commands) + sum(m[:1] == b"E" for m in script)
