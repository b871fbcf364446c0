"""Texts with one template mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.postgres.intent import study
from protocols.sql import analyse
from protocols.sql.template import template

LOOKED_INTO = [
    "SELECT abalance FROM pgbench_accounts WHERE aid = 1234;",
    "UPDATE pgbench_accounts SET abalance = abalance + -17 WHERE aid = 99;",
    "INSERT INTO h (tid, bid, aid, delta, mtime) VALUES (1, 2, 33, -44, CURRENT_TIMESTAMP);",
    "delete from public.t where id >= 7 and other < 8",
]
LEFT_ALONE = [
    "SET standard_conforming_strings = 0",
    "SELECT 'a' FROM t WHERE id = 1",
    'SELECT "a" FROM t WHERE id = 1',
    "SELECT 1 FROM t WHERE id = 1 -- 2",
    "SELECT 1 FROM t WHERE id = 1; DELETE FROM t WHERE id = 2",
    "SELECT $1 FROM t WHERE id = 2",
    "SELECT a FROM t WHERE a = 5 LIMIT 5",
    "WITH x AS (SELECT 1) SELECT a FROM t WHERE a = 3",
]


@pytest.mark.parametrize("text", LOOKED_INTO)
def test_values_leave_the_template(text: str) -> None:
    found = template(text)
    assert found is not None
    assert "?" in found


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_could_mean_more_is_left_alone(text: str) -> None:
    found = template(text)
    assert found is None or "?" not in found


def test_which_numbers_are_equal_matters() -> None:
    assert template("delete from t where id - 1 = id - 1") != template(
        "delete from t where id - 1 = id - 2"
    )


def test_a_constant_condition_hides_behind_no_template() -> None:
    study(b"delete from t where id = 1")
    study(b"delete from t where id - 1 = id - 2")
    for text in (b"delete from t where 1 = 1", b"delete from t where id - 3 = id - 3"):
        assert study(text).parts == analyse(text.decode()).parts


def test_the_second_text_keeps_its_own_words() -> None:
    study(b"select a from t where a = 1")
    second = study(b"select a from t where a = 2")
    assert second.text == "select a from t where a = 2"
    assert second.raw == b"select a from t where a = 2"
    assert second.parts is study(b"select a from t where a = 3").parts


WORD = st.sampled_from(
    ["id", "t.a", "b", "where", "and", "or", "not", "limit", "offset", "set", "case", "when",
     "then", "else", "end", "null", "true", "in", "between", "values", "from", "select", "f"]
)  # fmt: skip
NUMBER = st.integers(0, 3).map(str)
SIGN = st.sampled_from(["=", "<", ">", "<=", ">=", "<>", "+", "-", "*", "(", ")", ","])
TAIL = st.lists(st.one_of(WORD, NUMBER, SIGN), max_size=14).map(" ".join)
HEAD = st.sampled_from(
    ["select a from t where ", "delete from t where ", "update t set a = 1 where ",
     "update t set ", "insert into t values (", "select "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(HEAD, TAIL, TAIL)
def test_one_template_one_meaning(head: str, one: str, two: str) -> None:
    """Any two texts of random tokens: if their templates agree, so do parts."""
    _same(head + one, head + two)


@settings(max_examples=400, deadline=None)
@given(HEAD, TAIL, st.permutations(["0", "1", "2", "3"]))
def test_other_numbers_in_the_same_places(head: str, tail: str, order: list[str]) -> None:
    renamed = "".join(order[int(c)] if c in "0123" else c for c in tail)
    _same(head + tail, head + renamed)


def _same(one: str, two: str) -> None:
    shape = template(one)
    if shape is not None and shape == template(two):
        first, second = analyse(one), analyse(two)
        assert first.parts == second.parts
        assert [s.outputs for s in first.statements] == [s.outputs for s in second.statements]
