"""Legal holds that gateways share on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent / "index"))

from index_world import fresh, session_id, write
from test_index import run, some
from test_recorder_prune import ids, left, state, test_held_sessions_stay

from gateway.demo.postgres import Server
from recorder.holds import HoldError, holds, locked, put_hold
from recorder.index.answer import URL
from recorder.shared_lines import NAME, forget

__all__ = ["state", "test_held_sessions_stay"]


@pytest.fixture(autouse=True)
def shared(pg: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database that holds nothing yet."""
    url = pg.dsn("shop")
    monkeypatch.setenv(URL, url)
    forget()
    fresh()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("set client_min_messages = error")
        db.execute(f"drop schema if exists {NAME} cascade".encode())
    yield url
    forget()
    monkeypatch.setenv(URL, url)
    fresh()


def test_a_hold_put_at_one_gateway_stops_the_other(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for number, place in enumerate((one, two)):
        place.mkdir()
        write(place, [some(), some(ms=1)], first=10 * number)
        for path in place.glob("journal/*/*.agj"):
            path.unlink()
        run(capfd, place, "list")
    # A session of the other gateway, by the start of its id.
    code, hold, err = run(capfd, one, "hold", "add", session_id(10), "--reason", "case 7")
    assert (code, err) == (0, "")
    assert not (one / "holds.jsonl").exists()
    assert "case 7" in run(capfd, two, "hold", "list")[1]
    run(capfd, two, "prune", "--delete-after", "1d", "--yes")
    assert left(two) == ids(10)
    run(capfd, one, "hold", "add", "--reason", "audit", "--target", "db")
    run(capfd, one, "prune", "--delete-after", "1d", "--yes")
    assert left(one) == ids(0, 1)
    assert run(capfd, two, "hold", "rm", hold.strip(), "--reason", "over")[0] == 0
    assert "case 7" not in run(capfd, one, "hold", "list")[1]


def test_what_stood_in_the_file_before_still_stands(
    capfd: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    monkeypatch.delenv(URL)
    hold = put_hold(state, "ann", "old case", session_id(0))
    monkeypatch.setenv(URL, shared)
    assert [each.id for each in holds(state)] == [hold.id]
    run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert left(state) == ids(0)
    assert run(capfd, state, "hold", "rm", hold.id, "--reason", "over")[0] == 0
    assert holds(state) == []


def test_without_the_database_nothing_is_deleted(
    capfd: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, "postgresql://127.0.0.1:1/none")
    code, _, err = run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert code == 1
    assert "the shared holds can't be asked" in err
    assert left(state) == ids(*range(6))
    assert run(capfd, state, "hold", "add", session_id(0), "--reason", "x")[0] == 1
    assert run(capfd, state, "hold", "list")[0] == 1


def test_a_database_that_goes_away_is_asked_again(shared: str, state: Path) -> None:
    put_hold(state, "ann", "case", session_id(0))
    with psycopg.connect(shared, autocommit=True) as db:
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'wirewarden'"
        )
    with pytest.raises(HoldError):
        holds(state)
    assert len(holds(state)) == 1


def test_nobody_adds_a_hold_while_something_is_deleted(tmp_path: Path) -> None:
    """Also not at another gateway."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    words = ("--dir", str(two), "hold", "add", "--reason", "case", "--target", "db")
    with locked(one):
        adding = subprocess.Popen([sys.executable, "-m", "recorder.cli", *words])
        with pytest.raises(subprocess.TimeoutExpired):
            adding.wait(2)
        assert holds(one) == []
    assert adding.wait(20) == 0
    assert len(holds(one)) == 1


def test_lines_are_append_only(shared: str, state: Path) -> None:
    put_hold(state, "ann", "case", session_id(0))
    with psycopg.connect(shared) as db:
        for sql in ("update {}.line set text = ''", "delete from {}.line", "truncate {}.line"):
            with pytest.raises(psycopg.errors.IntegrityError):
                db.execute(sql.format(NAME).encode())
            db.rollback()
        db.execute(f"insert into {NAME}.line (text) values ('torn')".encode())
    with pytest.raises(HoldError, match="line 2"):
        holds(state)
