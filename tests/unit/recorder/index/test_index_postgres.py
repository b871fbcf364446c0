"""The same on PostgreSQL, and several gateways on one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from index_world import fresh, session_id, write
from test_index import (
    ASKED,
    KEPT,
    QUIET,
    run,
    same_answers,
    same_content,
    some,
    state,
    test_a_log_that_breaks_in_the_middle,
    test_a_log_that_changes_in_its_place_is_told_as_it_is,
    test_commands_of_one_session_over_many_pages,
    test_new_logs_come_in_and_days_go,
)

from gateway.demo.postgres import Server
from recorder.index.answer import URL, home_of, opened, shared
from recorder.index.database import DatabaseTrouble
from recorder.index.wanted import Wanted

__all__ = [
    "state",
    "test_a_log_that_breaks_in_the_middle",
    "test_a_log_that_changes_in_its_place_is_told_as_it_is",
    "test_commands_of_one_session_over_many_pages",
    "test_new_logs_come_in_and_days_go",
]


@pytest.fixture(autouse=True)
def shared_index(pg: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database that holds nothing yet."""
    url = pg.dsn("shop")
    monkeypatch.setenv(URL, url)
    fresh()
    yield url
    monkeypatch.setenv(URL, url)
    fresh()


@settings(max_examples=5, **QUIET)
@given(*ASKED)
def test_answers_are_the_same(
    sessions: list[dict[str, Any]], live: int, asked: list[Wanted]
) -> None:
    same_answers(sessions, live, asked[:6])


@settings(max_examples=4, **QUIET)
@given(*KEPT)
def test_upkeep_is_the_same(batches: list[list[dict[str, Any]]], gone: int) -> None:
    same_content(batches, gone)


def test_two_gateways_feed_one(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for number, place in enumerate((one, two)):
        place.mkdir()
        commands = [(f"select {number} from shared", 0, "reads", None)]
        write(place, [some(day=number, commands=commands), some(ms=number)], first=number * 10)
    assert len(run(capfd, one, "list", "--json")[1].splitlines()) == 2
    assert len(run(capfd, two, "list", "--json")[1].splitlines()) == 4
    answers = []
    for place in (one, two):
        code, out, err = run(capfd, place, "list", "--json")
        assert (code, err) == (0, "")
        answers.append([json.loads(line)["session"] for line in out.splitlines()])
        found = run(capfd, place, "grep", "--json", "from shared")[1].splitlines()
        assert [json.loads(line)["text"] for line in found] == [
            "select 0 from shared", "select 1 from shared"
        ]  # fmt: skip
    assert answers[0] == answers[1]
    assert {*answers[0]} == {session_id(n) for n in (0, 1, 10, 11)}
    # Each builds its own part anew, and a Log that is gone takes nothing of the other's.
    assert run(capfd, one, "reindex")[0] == 0
    for path in one.glob("sessions/*/*/*/*.agr"):
        path.unlink()
    for path in one.glob("journal/*/*.agj"):
        path.unlink()
    run(capfd, one, "list")
    assert len(run(capfd, two, "list", "--json")[1].splitlines()) == 2


def test_without_the_database_there_is_still_an_answer(
    capfd: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("postgresql://127.0.0.1:1/none", "mysql://nobody"):
        monkeypatch.setenv(URL, url)
        code, out, err = run(capfd, state, "list", "--json")
        assert code == 0
        assert len(out.splitlines()) == 12
        assert "without the index" in err
        with pytest.raises(DatabaseTrouble):
            shared(url, state)


def test_rows_that_are_damaged_are_read_anew(
    capfd: pytest.CaptureFixture[str], state: Path, shared_index: str
) -> None:
    plain = run(capfd, state, "grep", "--json", "from", "--no-index")
    assert run(capfd, state, "grep", "--json", "from") == plain
    with psycopg.connect(shared_index) as db:
        db.execute("update wirewarden_index_1.page set body = 'x'")
    code, out, err = run(capfd, state, "grep", "--json", "from")
    assert (code, out) == plain[:2]
    assert "index" in err
    assert run(capfd, state, "grep", "--json", "from") == plain


def test_a_home_is_one(tmp_path: Path) -> None:
    assert home_of(tmp_path) == home_of(tmp_path)
    index = opened(tmp_path, print)
    assert index is not None
    assert index.home == home_of(tmp_path)
    assert index.database.size() > 0
    index.database.close()
