"""Functions that may be called where PostgreSQL's own are meant."""

from __future__ import annotations

import pytest
from pg_kit import Session, complete, query, ready

from protocols.contract import Allow, Answer, Command, Destined, Done, Errand, Opening, Question
from protocols.errors import WireError
from protocols.postgres.catalog import forget
from protocols.postgres.shadows import KEY, UNKNOWN, Shadows, ShadowsErrand, known
from protocols.wire import Side


def test_what_is_learnt() -> None:
    talk = ShadowsErrand(Opening("s", bytes), Destined("u", "d", "disable", b"k"))
    assert b"pg_proc" in talk.ready(b"I")
    for row in (b'["lower", true]', b'["upper", false]'):
        talk.message(b"D", b"\0\1" + len(row).to_bytes(4, "big") + row)
    with pytest.raises(WireError):
        talk.message(b"D", b"\0\1\0\0\0\2[]")
    talk.ready(b"I")
    assert talk.result == Shadows(frozenset({"lower"}), frozenset({"lower", "upper"}))


def test_ddl_drops_it() -> None:
    memory: dict[object, object] = {KEY: UNKNOWN}
    assert known(memory) is UNKNOWN
    forget(memory)
    assert known(memory) is None


def judged(result: object, *texts: str) -> list[Question]:
    def judge(question: Question) -> Answer:
        return Done(result) if isinstance(question, Errand) else Allow()

    session = Session(judge)
    for text in texts:
        session.client(query(text))
        session.server(complete("X") + ready())
    # Each command leaves as it came, once.
    assert session.sent[Side.UPSTREAM] == b"".join(query(text) for text in texts)
    return session.questions


def test_a_call_that_may_be_another_is_incomplete() -> None:
    shadows = Shadows(frozenset({"lower"}), frozenset({"lower", "upper"}))
    asked = judged(shadows, "select lower('X')", "select upper('x')", "select lower('X')")
    assert isinstance(asked[0], Errand)
    lower, upper, again = (q.parts for q in asked if isinstance(q, Command))
    assert not lower[0].complete
    assert "lower" in lower[0].why_incomplete
    assert upper[0].complete
    assert again is lower


def test_elsewhere_counts_once_the_path_has_changed() -> None:
    shadows = Shadows(frozenset(), frozenset({"upper"}))
    asked = judged(shadows, "select upper('x')", "set search_path = x", "select upper('x')")
    assert [q.parts[0].complete for q in asked if isinstance(q, Command)] == [True, True, False]


def test_all_is_in_doubt_while_it_is_not_known() -> None:
    _, command = judged(None, "select now()")
    assert isinstance(command, Command)
    assert not command.parts[0].complete


@pytest.mark.parametrize("text", ["select 1", "insert into t values (1)", "select f()", "begin"])
def test_nothing_is_asked_where_nothing_can_be_doubted(text: str) -> None:
    assert [type(q) for q in judged(None, text)] == [Command]
