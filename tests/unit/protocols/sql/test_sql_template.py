"""Texts with one template mean the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.postgres import intent
from protocols.postgres.intent import study
from protocols.sql import analyse
from protocols.sql.template import Recalled, template

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


LONG = "123456789012345678"
DIGITS = st.one_of(
    st.integers(0, 3).map(str), st.sampled_from(["00", "12", "012", LONG, LONG + "9"])
)
GAP = st.sampled_from(["", " "])
LOOSE = st.lists(
    st.tuples(
        GAP,
        st.one_of(
            WORD,
            DIGITS,
            SIGN,
            st.sampled_from(["e", ".", "_", "x", "t", "-", ";", "#", "?", "?0?", "'", "--", "é"]),
        ),
    ),
    max_size=10,
).map(lambda pairs: "".join(gap + word for gap, word in pairs))
RUN = re.compile("[0-9]+")


@settings(max_examples=1500, deadline=None)
@given(HEAD, LOOSE, st.lists(DIGITS, min_size=14, max_size=14), st.booleans())
def test_recalled_is_what_the_template_leads_to(
    head: str, tail: str, digits: list[str], again: bool
) -> None:
    """Texts with the same words and any other digits."""
    one = head + tail
    runs = iter(digits)
    two = RUN.sub(lambda run: next(runs, run[0]), one)
    recalled = Recalled[str]()
    for text in (one, two) if again else (one,):
        shape = template(text)
        if shape is not None:
            recalled.keep(text, shape, shape)
    for text in (one, two):
        found = recalled.find(text)
        assert found is None or found == template(text)
    short = all(len(run) <= len(LONG) for run in RUN.findall(one + two))
    if short and template(one) is not None and template(one) == template(two):
        assert recalled.find(two) == template(one)


@settings(max_examples=300, deadline=None)
@given(HEAD, LOOSE, HEAD, LOOSE)
def test_recalled_is_of_the_same_words(head: str, one: str, other: str, two: str) -> None:
    recalled = Recalled[str]()
    shape = template(head + one)
    if shape is not None:
        recalled.keep(head + one, shape, shape)
    found = recalled.find(other + two)
    assert found is None or found == template(other + two)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ("select a from t where a = 1", "select a from t where a = 1234567890123456789"),
        ("delete from t where a = 1 or 2 = 3", "delete from t where a = 1 or 2 = 2"),
        ("delete from t where a = 1 or 2 = 3", "delete from t where a = 2 or 2 = 3"),
        ("delete from t where a - 1 = a - 2", "delete from t where a - 1 = a - 1"),
        ("delete from t where a - -1 = a - 1", "delete from t where a - -1 = a - 2"),
        ("select a from t where a = 1 limit 5", "select a from t where a = 1 limit 6"),
        ("select a from t1 where a = 5", "select a from t2 where a = 5"),
        ("select a from t where a = 1e9", "select a from t where a = 1e8"),
        ("select a from t where a = 0x10", "select a from t where a = 0x11"),
        ("select a from t where a = 1.5", "select a from t where a = 1.6"),
        ("select a from t where a = 1 or b = 2", f"select a from t where a = {LONG}9 or b = 2"),
        (f"select a from t where {'a' * 2020} = 1", f"select a from t where {'a' * 2020} = 1111"),
    ],
)
def test_what_recalling_must_tell_apart(known: str, text: str) -> None:
    recalled = Recalled[str]()
    shape = template(known)
    assert shape is not None
    recalled.keep(known, shape, known)
    assert recalled.find(known) == known
    if template(text) != shape:
        assert recalled.find(text) is None
    else:
        assert recalled.find(text) == known


def test_a_number_that_is_too_long_spoils_nothing() -> None:
    recalled = Recalled[str]()
    for number in (LONG + "9", "7"):
        text = f"select a from t where a = {number} and b = 5"
        recalled.keep(text, template(text) or "", text)
    assert recalled.find("select a from t where a = 8 and b = 6") == text


def test_what_is_recalled_is_bounded() -> None:
    recalled = Recalled[str](most=8)
    for number in range(100):
        text = f"select a from t where a = 7777 limit {number}"
        recalled.keep(text, template(text) or "", text)
        assert recalled.find(text) == text
    assert sum(len(form.known) for form in recalled._forms.values()) <= 8


FIELDS = (
    "complete", "conjures", "copies_in", "defines", "displaces", "guarded", "hidden", "opaque",
    "parts", "raw", "steps", "text", "unqualified",
)  # fmt: skip


CLAUSES = st.lists(
    st.one_of(NUMBER.map("id = {}".format), NUMBER.map(", a = a - {}".format), WORD, NUMBER, SIGN),
    max_size=8,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(HEAD, CLAUSES, st.permutations(["0", "1", "2", "3"]))
def test_studied_again_means_what_it_means_alone(head: str, tail: str, order: list[str]) -> None:
    """Whatever was studied before, parts and text are those of the text itself."""
    renamed = "".join(order[int(c)] if c in "0123" else c for c in tail)
    for text in (head + tail, head + renamed, head + tail):
        found = study(text.encode())
        analysis = analyse(text)
        alone = intent.Intent(text.encode(), text, analysis.parts, analysis.statements)
        for name in FIELDS:
            assert getattr(found, name) == getattr(alone, name), name


def test_texts_are_forgotten_and_studied_anew() -> None:
    first = study(b"select 'first'")
    assert study(b"select 'first'") is first
    for number in range(3000):
        study(f"select '{number}'".encode())
    assert study(b"select 'first'").parts == first.parts
    assert len(intent._young) + len(intent._old) <= 2048
