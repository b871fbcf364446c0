"""Credentials that a client types are sent as they are, and on record nowhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pg_kit import CLIENT, SYNC, UPSTREAM, Session, bind, execute, parse, query

from protocols.contract import Allow, Answer, Command, Question, Refuse
from protocols.wire import Mark, Move, Side

SECRET = "correct-horse"
ALTER = f"alter role bob password '{SECRET}'"
TALKS = {
    "simple": query(ALTER),
    "several": query(f"select 1; {ALTER}; select 2") + query("select 3"),
    "extended": parse("s", ALTER) + bind("", "s") + execute() + SYNC,
    "behind others": query("select 1") + query(ALTER) + query("select 2"),
    "twice": query(ALTER) + query(ALTER),
}


def recorded(s: Session, side: Side, arrives: bool) -> bytes:
    """What the record has of a hop."""
    found = b""
    for span in s.spans:
        if arrives:
            on = span.side is side and span.move in (Move.PASS, Move.TAKE)
        else:
            to = span.side if span.move is Move.SEND else span.side.other
            on = span.move is not Move.TAKE and to is side
        if on:
            raw = span.raw
            if span.move is Move.FORWARD:
                raw = recorded(s, span.side, True)[span.offset : span.offset + len(raw)]
            found += b"?" * len(raw) if span.mark is Mark.SECRET else raw
    return found


def check(s: Session, raw: bytes, clean: bool = True) -> None:
    secret = SECRET.encode()
    ins, out = recorded(s, CLIENT, True), recorded(s, UPSTREAM, False)
    assert secret not in ins + b"|" + out
    assert len(ins) == len(raw)
    assert all(SECRET not in command.text for command in s.commands)
    assert not any(secret[:4] in span.raw for span in s.spans if span.mark is not Mark.SECRET)
    if clean:
        assert bytes(s.sent[UPSTREAM]) == raw
        assert out == raw.replace(secret, b"?" * len(secret))


@pytest.mark.parametrize("name", TALKS)
def test_at_once(name: str) -> None:
    s = Session()
    s.client(TALKS[name])
    check(s, TALKS[name])
    assert recorded(s, CLIENT, True) == recorded(s, UPSTREAM, False)  # nothing had to wait


@pytest.mark.parametrize("name", TALKS)
@given(data=st.data())
def test_at_any_cut_and_however_late_the_answers(name: str, data: st.DataObject) -> None:
    raw = TALKS[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    s = Session(lambda question: None)
    for a, b in pairwise([0, *cuts, len(raw)]):
        s.client(raw[a:b])
        while s.waiting and data.draw(st.booleans()):
            s.answer(Allow())
    while s.waiting:
        s.answer(Allow())
    check(s, raw)


def test_bytewise_behind_a_question() -> None:
    s = Session(lambda question: None)
    raw = TALKS["behind others"]
    for at in range(len(raw)):
        s.client(raw[at : at + 1])
    while s.waiting:
        s.answer(Allow())
    check(s, raw)


def test_refused_or_left_alone_it_is_not_on_record_either() -> None:
    def no(question: Question) -> Answer:
        return Refuse("no", "rule")

    s = Session(no)
    s.client(TALKS["simple"])
    check(s, TALKS["simple"], clean=False)
    assert SECRET.encode() not in bytes(s.sent[UPSTREAM])
    s = Session(lambda question: None)
    s.client(TALKS["behind others"][:-3])
    s.client(b"")
    check(s, TALKS["behind others"][:-3], clean=False)
    s = Session()
    s.client(TALKS["simple"][:-3])  # half a message
    s.client(b"")
    check(s, TALKS["simple"][:-3], clean=False)


def test_a_digest_tells_nothing_of_it() -> None:
    s = Session()
    s.client(TALKS["twice"])
    one, two = s.commands
    assert isinstance(one, Command)
    assert one.text == two.text == "alter role bob password '***'"
    assert one.digest() != two.digest()
    plain = Session()
    plain.client(query("select 1") * 2)
    assert len({command.digest() for command in plain.commands}) == 1
