"""The index says what the Logs say, or gets out of the way."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_world import RULES, SESSION, TEXTS, WALL, WHO, fresh, session_id, write

from recorder.cli import main
from recorder.index.answer import Answer, opened, rebuilt
from recorder.index.content import DamagedIndex, facts_of, items_of
from recorder.index.wanted import Pattern, Wanted, Words

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}
START = datetime.fromtimestamp(WALL / 1e9, UTC)
PLAIN = {
    "day": 0, "ms": 0, "protocol": "postgres", "who": "ann", "groups": ["dev"], "run": "1",
    "env": "prod",
    "target": "db", "database": "app", "commands": [("select 1", 0, "reads", None)], "approval": "",
    "status": "closed",
}  # fmt: skip


def some(**changes: Any) -> dict[str, Any]:
    return {**PLAIN, **changes}


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), values)


PATTERNS = ["select", "(?i)SELECT", "user", r"from users$", r"user_?s", "a{3,}", "[st]elect",
            r"\.b", "S|x", "users|select", "(delete|drop) ",
            "(insert|DELETE)", "^select|t$", r"\bwhy|Stra", "(sel)+ect 1", "stra.e", "",
            "nothing", "ected? ", r"wh\w"]  # fmt: skip
WANTED = st.builds(
    Wanted,
    principal=maybe(st.sampled_from([*WHO, "nobody"])),
    group=maybe(st.sampled_from(["dev", "ops"])),
    run=maybe(st.sampled_from(["", "1"])),
    tags=st.sampled_from([(), (), (("env", "prod"),), (("env", "a=b"),)]),
    target=maybe(st.just("db")),
    database=maybe(st.sampled_from(["app", "org/repo"])),
    protocol=maybe(st.just("resp")),
    status=maybe(st.sampled_from(["closed", "open", "terminated"])),
    since=maybe(st.integers(-1, 50).map(lambda h: START + timedelta(hours=h, milliseconds=h % 3))),
    until=maybe(st.integers(-1, 50).map(lambda h: START + timedelta(hours=h, milliseconds=h % 3))),
    denied=st.sampled_from([False, False, True]),
    approval=maybe(st.sampled_from(["approved", "a1", "lead"])),
    verdict=maybe(st.sampled_from(["allow", "block", "hold"])),
    rule=maybe(st.sampled_from(RULES)),
    text=maybe(
        st.sampled_from(["select", '"from users"', "USERS del*", "strasse", "why", "eve"])
    ).map(lambda text: text and Words(text)),
    pattern=maybe(
        st.builds(
            Pattern,
            st.sampled_from([*PATTERNS, "select"]),
            ignore_case=st.booleans(),
            fixed=st.booleans(),
        )
    ),
)


def fails(text: str) -> None:
    raise AssertionError(text)


ASKED = (
    st.lists(SESSION, max_size=7),
    st.integers(0, 2),
    st.lists(WANTED, min_size=6, max_size=12),
)


@settings(max_examples=40, **QUIET)
@given(*ASKED)
def test_answers_are_the_same_without_an_index(
    sessions: list[dict[str, Any]], live: int, asked: list[Wanted]
) -> None:
    same_answers(sessions, live, asked)


def same_answers(sessions: list[dict[str, Any]], live: int, asked: list[Wanted]) -> None:
    fresh()
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        journal = write(state, sessions, live=min(live, len(sessions)))
        for wanted in asked:
            for limit in (0, 1, 3):
                answers = [Answer(state, wanted, fails, plain) for plain in (True, False)]
                plain, indexed = (a.lines(limit) for a in answers)
                assert plain == indexed
                plain_items, items = ([*a.items(limit)] for a in answers)
                if wanted.about_items:
                    assert plain_items == items
                    assert [i.as_dict() for _, i in items] == [i.as_dict() for _, i in plain_items]
                    assert [i.shown() for _, i in items] == [i.shown() for _, i in plain_items]
            assert answers[0].lines(2, lambda r: r.blocked) == answers[1].lines(
                2, lambda r: r.blocked
            )
        journal.close()


def content(state: Path) -> list[Any]:
    index = opened(state, fails)
    assert index is not None
    found = [*index.dump()]
    index.database.close()
    return found


KEPT = (st.lists(st.lists(SESSION, max_size=4), min_size=1, max_size=3), st.integers(0, 5))


@settings(max_examples=15, **QUIET)
@given(*KEPT)
def test_upkeep_equals_building_anew(batches: list[list[dict[str, Any]]], gone: int) -> None:
    same_content(batches, gone)


def same_content(batches: list[list[dict[str, Any]]], gone: int) -> None:
    fresh()
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        for number, sessions in enumerate(batches):
            write(state, sessions, first=number * 100)
            content(state)
        logs = sorted(state.glob("sessions/*/*/*/*.agr"))
        if gone < len(logs):
            logs[gone].unlink()
        kept = content(state)
        assert sum(row[0] == "session" for row in kept) == len(logs) - (gone < len(logs))
        assert rebuilt(state, fails) is not None
        anew = content(state)
        assert anew == kept
        for tail in ("", "-wal", "-shm"):
            (state / f"index.db{tail}").unlink(missing_ok=True)
        assert content(state) == kept


@given(
    st.sampled_from([*TEXTS, "selectselect", "aab", "SELECT 1.b"]),
    st.text("abt|.*+?()[]{}|\\^$seluſ1 2,-:", max_size=9),
    st.booleans(),
)
@settings(max_examples=800, deadline=None)
def test_literals_are_in_whatever_matches(text: str, source: str, ignore_case: bool) -> None:
    from recorder.index.grams import folded

    try:
        pattern = Pattern(source, ignore_case=ignore_case)
    except ValueError:
        return
    for candidate in (text, source, source.replace("\\", ""), "aabab t", "uses ſ 1"):
        if pattern.found_in([candidate]):
            assert not pattern.branches or any(
                all(literal in folded(candidate) for literal in branch)
                for branch in pattern.branches
            )
            assert pattern.may_be_in(["x", candidate, "y z"])


def test_literals_are_found_at_all() -> None:
    assert Pattern(r"delete from (users|t) where id = \d+").branches == (
        ("delete from ", " where id = "),
    )
    assert Pattern("DROP TABLE", fixed=True).branches == (("drop table",),)
    assert Pattern("Users|(a|b)\\.c[|]d").branches == (("users",), (".c", "d"))
    assert Pattern("(users|orders)").branches == (("users",), ("orders",))
    for beyond in ("a*|users", "(?i)users|orders", "|".join(["users"] * 9), r"users|\Qa|b\E"):
        assert Pattern(beyond).branches == ()
    assert Wanted(pattern=Pattern("users")).grams == (("use", "ser", "ers"),)
    assert Wanted(pattern=Pattern("users|ord")).grams == (("use", "ser", "ers"), ("ord",))
    assert Wanted(pattern=Pattern("users|or")).grams == ()
    both = Wanted(pattern=Pattern("users|ord"), text=Words("from"))
    assert both.grams == (("fro", "rom", "use", "ser", "ers"), ("fro", "rom", "ord"))
    assert Wanted(pattern=Pattern("or"), text=Words("from")).grams == (("fro", "rom"),)


def run(capfd: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, str, str]:
    code = main(["--dir", str(state), *words])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def state(tmp_path: Path) -> Path:
    write(tmp_path, [some(day=n % 3, commands=[(f"select {n} from t{n}", n % 4, "reads", None)])
                     for n in range(12)])  # fmt: skip
    return tmp_path


Break = Callable[[Path], None]


def _garbage(state: Path) -> None:
    (state / "index.db").write_bytes(os.urandom(9000))


def _version(state: Path) -> None:
    with sqlite3.connect(state / "index.db") as db:
        db.execute("pragma user_version = 99")
    db.close()


def _table(state: Path) -> None:
    with sqlite3.connect(state / "index.db") as db:
        db.execute("drop table session")
    db.close()


def _rows(state: Path) -> None:
    with sqlite3.connect(state / "index.db") as db:
        db.execute("update page set body = zeroblob(50)")
        db.execute("update session set body = zeroblob(50)")
    db.close()


def _torn(state: Path) -> None:
    with sqlite3.connect(state / "index.db") as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    size = (state / "index.db").stat().st_size
    os.truncate(state / "index.db", size // 2)


@pytest.mark.parametrize("harm", [_garbage, _version, _table, _rows, _torn])
def test_a_broken_index_is_built_anew_with_a_notice(
    capfd: pytest.CaptureFixture[str], state: Path, harm: Break
) -> None:
    for words in (["list", "--json"], ["grep", "--json", "from"], ["list", "--rule", "reads"]):
        _, plain, err = run(capfd, state, *words, "--no-index")
        assert plain
        assert not err
        assert run(capfd, state, *words) == (0, plain, "")
        harm(state)
        code, out, err = run(capfd, state, *words)
        assert (code, out) == (0, plain)
        assert "index" in err
        assert run(capfd, state, *words) == (0, plain, "")


def test_an_index_that_cannot_be_is_done_without(
    capfd: pytest.CaptureFixture[str], state: Path
) -> None:
    (state / "index.db").mkdir()
    code, out, err = run(capfd, state, "list", "--json")
    assert code == 0
    assert len(out.splitlines()) == 12
    assert "without the index" in err


def test_a_log_that_changes_in_its_place_is_told_as_it_is(
    capfd: pytest.CaptureFixture[str], state: Path
) -> None:
    run(capfd, state, "list")
    path = sorted(state.glob("sessions/*/*/*/*.agr"))[0]
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(raw)
    _, plain, _ = run(capfd, state, "list", "--json", "--no-index")
    _, out, err = run(capfd, state, "list", "--json")
    assert out == plain
    assert not err
    assert '"damaged"' in out
    assert run(capfd, state, "list", "--json")[1] == plain
    for extra in ([], ["--no-index"]):
        code, _, err = run(capfd, state, "grep", "select", *extra)
        assert code == 2
        assert path.stem in err
    path.unlink()
    gone = run(capfd, state, "list", "--json")
    assert gone == run(capfd, state, "list", "--json", "--no-index")
    assert str(path) not in gone[1]


def test_a_log_that_breaks_in_the_middle(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    many = [(f"select {n} {os.urandom(99).hex()}", 0, "reads", None) for n in range(2000)]
    write(tmp_path, [some(commands=many), some(ms=3)])
    path = sorted(tmp_path.glob("sessions/*/*/*/*.agr"))[0]
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 2 // 3] ^= 1
    path.write_bytes(raw)
    answers = []
    for extra in (["--no-index"], [], []):
        code, out, err = run(capfd, tmp_path, "grep", "--json", "select", *extra)
        assert code == 2
        assert err.count(session_id(0)) == 1
        answers.append(out)
    assert answers[0] == answers[1] == answers[2]
    assert 1 < len(answers[0].splitlines()) < 2001


def test_new_logs_come_in_and_days_go(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    assert len(run(capfd, state, "list", "--json")[1].splitlines()) == 12
    write(state, [some(day=5), some(day=0, ms=1)], first=100)
    assert len(run(capfd, state, "list", "--json")[1].splitlines()) == 14
    day = sorted(state.glob("sessions/*/*/*"))[1]
    for path in day.iterdir():
        path.unlink()
    day.rmdir()
    # Their journals may have them still.
    left = run(capfd, state, "list", "--json")
    assert left == run(capfd, state, "list", "--json", "--no-index")
    assert str(day) not in left[1]


def test_commands_of_one_session_over_many_pages(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    commands = [(f"select {n}", 3 if n % 100 == 7 else 0, "reads", None) for n in range(1000)]
    write(tmp_path, [some(commands=commands)])
    _, out, _ = run(capfd, tmp_path, "grep", "--json", "--verdict", "block", "--limit", "3")
    assert [json.loads(line)["text"] for line in out.splitlines()] == [
        "select 707", "select 807", "select 907"
    ]  # fmt: skip
    _, out, _ = run(capfd, tmp_path, "grep", "select", "--json")
    assert [json.loads(line)["number"] for line in out.splitlines()] == [*range(1000)]


def test_two_commands_at_once(state: Path) -> None:
    words = [sys.executable, "-m", "recorder.cli", "--dir", str(state), "list", "--json"]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for _ in range(4)]  # fmt: skip
    answers = {process.communicate() for process in running}
    assert len(answers) == 1
    out, err = answers.pop()
    assert not err
    assert len(out.splitlines()) == 12


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--limit", "-1"],
        ["list", "--since", "999999w"],
        ["list", "--text", "*"],
        ["list", "--regex", "("],
    ],
)
def test_what_makes_no_sense_is_refused(state: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--dir", str(state), *words])
    assert error.value.code == 2


def test_patterns_that_are_slow_elsewhere() -> None:
    texts = ["target=db database=app " + "a" * 200, "b"]
    began = time.process_time()
    for source in ("(" * 900 + "b" + ")" * 900, "(a+)+$x", "(a|aa)+$x", "(.*)*" * 200 + "x$"):
        pattern = Pattern(source)
        for _ in range(150):
            pattern.found_in(texts)
    assert time.process_time() - began < 2
    with pytest.raises(ValueError, match=r"^not a pattern: missing .{1,250}$"):
        Pattern("(" * 60_000)


def test_a_page_that_says_it_is_huge_is_not_unpacked() -> None:
    """Four gigabytes in 14 bytes: found by fuzzing, as a MemoryError."""
    frame = b"\x28\xb5\x2f\xfd\xa0" + (0xFFFFFFFF).to_bytes(4, "little") + bytes(5)
    with pytest.raises(DamagedIndex):
        items_of(frame)
    with pytest.raises(DamagedIndex):
        facts_of(frame, Path("x"))
