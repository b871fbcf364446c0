"""Whatever the text, an answer: never an exception, never a dead process."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sql import ACTIONS, FACTS, analyse, trace_view
from protocols.sql.analyse import _Cache

SEEDS = [
    "with x as (delete from t where a = $1 returning *) select u.email, count(*) from x join "
    "public.users u using (id) where exists (select 1 from o) order by 1 limit 3",
    "insert into t (a, b[1]) values (1, default) on conflict (a) do update set b = excluded.b",
    "merge into t using s on t.i = s.i when matched then delete when not matched then insert "
    "values (1) returning *",
    "copy (select * from t) to stdout with (format csv, header, null 'x')",
    "create function f(a int) returns int language sql set search_path = x as $$ select 1 $$",
    "alter table t add column a int default f(1), drop column b cascade",
    "grant select (a), update on t to public; revoke x from y; set role z; explain analyze "
    "execute p(1)",
    "select json_table.* from json_table('{}', '$' columns (a int path '$.a'))",
]
WORDS = sorted(
    {w for s in SEEDS for w in s.split()} | set("()',;.\"") | {"$$", "/*", "*/", "--", "::"}
)


def check(text: str) -> None:
    analysis = analyse(text)
    assert tuple(p for s in analysis.statements for p in s.parts) == analysis.parts
    for part in analysis.parts:
        assert part.action in ACTIONS
        assert part.facts.keys() == FACTS.keys()
        assert part.complete is (part.why_incomplete == "")
    for statement in analysis.statements:
        start, end = statement.text_span
        assert 0 <= start <= end <= len(text)
        assert statement.parts
    assert analyse(text) == analysis
    assert len(trace_view(text, ["a", "b"])) == 2


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words(text: str) -> None:
    check(text)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_mutated_statements(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from(SEEDS)).split()
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(words)))
        words[place : place + data.draw(st.integers(0, 2))] = [data.draw(st.sampled_from(WORDS))]
    check(" ".join(words))


DEEP = """
import threading
from protocols.sql import analyse, trace_view
n = 100_000
texts = [
    "(" * n, "select " + "(" * n + "1" + ")" * n, "select " + "not " * n + "true",
    "select 1" + "+1" * n, "select 1" + "::int" * n, "select " + "- " * n + "1",
    "select 1" + " union select 1" * 30_000, "select " + "array[" * n + "]" * n,
    "select 1 from a" + " cross join a" * 50_000, "/*" * n, "select a" + "[1]" * 1_000,
    "select " + "case when true then " * 5_000 + "1" + " end" * 5_000, "select a" + ".a" * n,
    "select " + "(select " * 3_000 + "1" + ")" * 3_000, "$a$" * n, "U&'" * n,
]
def run():
    for text in texts:
        analysis = analyse(text)
        assert len(analysis.parts) == 1
        trace_view(text, ["a"])
run()
threading.stack_size(1 << 19)
thread = threading.Thread(target=run)
thread.start()
thread.join()
print("alive")
"""


def test_deep_nesting_does_not_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "alive\n", done.stderr[-500:]


def test_the_cache_is_bounded() -> None:
    cache = _Cache(entries=10, weight=5_000)
    for number in range(100):
        text = f"select {number}"
        cache.keep(text, analyse(text))
    assert list(cache.known) == [f"select {n}" for n in range(90, 100)]
    for size in (1_500, 1_600, 1_700, 1_800):
        text = "select '" + "x" * size + "'"
        cache.keep(text, analyse(text))
    assert 0 < cache.held <= 5_000
    assert len(cache.known) == 2
    many = "select 1;" * 100
    cache.keep(many, analyse(many))
    assert many not in cache.known
    assert analyse("select 'kept'") is analyse("select 'kept'")


@pytest.mark.parametrize(
    "piece",
    ["+", "+-", "*+", "/*", "'a'\n", "$a", "@+", "<-", ";", "a,", "- ", "U&'\\0041'", "--\n"],
)
def test_no_text_takes_long(piece: str) -> None:
    """A megabyte of anything is answered in seconds, not in the minutes that
    a quadratic lexer takes."""
    began = time.monotonic()
    analyse(("select " + piece * (1 << 20))[: 1 << 20])
    assert time.monotonic() - began < 20


def test_signs_in_ordinary_text_are_read() -> None:
    assert analyse("select " + "1 + " * 200 + "1").parts[0].action == "sql.select"
    assert analyse("select '" + "-" * 2_000 + "+' --" + "-+" * 200).parts[0].complete
