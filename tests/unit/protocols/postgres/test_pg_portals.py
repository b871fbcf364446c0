"""Names mean what the server thinks they mean (THREATS row 61)."""

from __future__ import annotations

import pytest
from pg_kit import (
    CLIENT,
    SYNC,
    UPSTREAM,
    Server,
    Session,
    bind,
    close,
    columns,
    complete,
    error,
    execute,
    f,
    fields,
    frames,
    kinds,
    parse,
    query,
    ready,
    row,
    talk,
)

from protocols.contract import Allow, Answer, Command, Phase, Question, Refuse

RESULTS = {
    "select 1": columns("a") + row(b"1") + complete("SELECT 1"),
    "select 2": columns("a") + row(b"2") + complete("SELECT 1"),
    "delete from t": complete("DELETE 5"),
    "fail": error("22012", "division by zero"),
}


def no_runs(question: Question) -> Answer:
    """A judge that lets anything be prepared, and no delete be run."""
    assert isinstance(question, Command)
    gone = any(p.action == "sql.delete" for p in question.parts)
    return Refuse("no", "r") if gone and question.phase is Phase.RUN else Allow()


def run_of(name: str) -> bytes:
    return bind("", name) + execute() + SYNC


def test_a_name_in_doubt_waits_for_the_server() -> None:
    """Batch 2 rebinds ``s`` and may fail before or after it does."""
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC)
    s.server(f("1") + ready())
    doubtful = parse("", "fail") + bind("", "") + execute() + close("S", "s")
    doubtful += parse("s", "delete from t") + SYNC
    s.client(doubtful + run_of("s"))
    assert s.sent[UPSTREAM].endswith(doubtful)
    assert [q.text for q in s.commands].count("select 1") == 1
    s.server(f("1") + f("2") + error("22012", "no"))
    assert s.commands[-1].text == "select 1"
    assert s.sent[UPSTREAM].endswith(run_of("s"))


def test_a_name_in_doubt_that_was_rebound() -> None:
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC)
    s.server(f("1") + ready())
    s.client(close("S", "s") + parse("s", "delete from t") + SYNC + run_of("s"))
    s.server(f("3") + f("1") + ready())
    assert s.commands[-1].text == "delete from t"
    assert b"E\0\0\0\t" not in s.sent[UPSTREAM]


def test_a_failed_parse_leaves_the_old_meaning() -> None:
    s, server = Session(no_runs), Server(RESULTS)
    talk(s, server, parse("s", "select 1") + SYNC)
    talk(s, server, parse("s", "delete from t") + SYNC)
    out = talk(s, server, run_of("s"))
    assert kinds(out) == "2DCZ"
    assert s.texts()[-1] == "select 1"


def test_an_unknown_name_fails_as_the_server_would() -> None:
    s, server = Session(), Server(RESULTS)
    out = talk(s, server, run_of("nosuch") + query("select 1"))
    assert kinds(out) == "EZTDCZ"
    assert s.texts() == ["select 1"]
    said = fields(frames(out)[0][1])
    assert said["C"] == "26000"
    assert "nosuch" in said["M"]


def test_names_are_cut_as_the_server_cuts_them() -> None:
    s = Session(no_runs)
    long = "n" * 63
    s.client(parse(long + "a", "delete from t") + SYNC)
    s.server(f("1") + ready())
    s.client(run_of(long + "b"))
    assert s.commands[-1].text == "delete from t"


@pytest.mark.parametrize("how", ["query", "extended"])
def test_prepare_and_execute_in_sql(how: str) -> None:
    s = Session(no_runs)

    def run(text: str, reply: bytes) -> None:
        if how == "query":
            s.client(query(text))
            s.server(reply + ready())
        else:
            s.client(parse("", text) + run_of(""))
            s.server(f("1") + f("2") + reply + ready())

    run("prepare s as select 1", complete("PREPARE"))
    run("execute s", row(b"1") + complete("SELECT 1") if how == "extended" else complete("SELECT"))
    assert all(p.complete for p in s.commands[-1].parts)
    assert "sql.select" in [p.action for p in s.commands[-1].parts]
    run("deallocate s", complete("DEALLOCATE"))
    s.client(query("execute s"))
    assert not all(p.complete for p in s.commands[-1].parts)


def test_protocol_and_sql_share_their_names() -> None:
    s = Session(no_runs)
    s.client(parse("s", "delete from t") + SYNC)
    s.server(f("1") + ready())
    s.client(query("execute s"))
    assert "sql.delete" in [p.action for p in s.commands[-1].parts]
    assert kinds(s.sent[UPSTREAM]) == "PSQ"
    assert b"execute" not in s.sent[UPSTREAM]


def test_a_prepare_behind_a_failure_never_happened() -> None:
    s = Session(no_runs)
    s.client(query("prepare s as select 1"))
    s.server(complete("PREPARE") + ready())
    s.client(query("select 1/0; deallocate s; prepare s as select 2"))
    s.server(columns("a") + error("22012", "no") + ready())
    s.client(run_of("s"))
    assert s.commands[-1].text == "prepare s as select 1"


def test_half_of_a_query_happened() -> None:
    s = Session(no_runs)
    s.client(query("prepare a as select 1; prepare b as select 2"))
    s.server(complete("PREPARE") + error("42P05", "exists") + ready())
    s.client(run_of("a"))
    assert s.commands[-1].phase is Phase.RUN
    s.server(f("2") + row(b"1") + complete("SELECT 1") + ready())
    s.client(run_of("b"))
    assert kinds(s.sent[UPSTREAM])[-2:] == "PS", "b is not known, so the Bind is refused"


def test_discard_all_forgets_all() -> None:
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC)
    s.server(f("1") + ready())
    s.client(query("discard all"))
    s.server(complete("DISCARD ALL") + ready())
    s.client(run_of("s"))
    quoted = s.sent[UPSTREAM].replace(b"\0", b" ").decode()
    s.server(error("42601", quoted) + ready())
    assert fields(frames(s.sent[CLIENT])[-2][1])["C"] == "26000"


def test_code_that_cant_be_read_puts_names_in_doubt() -> None:
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC)
    s.server(f("1") + ready())
    s.client(query("do $$ begin execute 'deallocate s'; end $$"))
    s.server(complete("DO") + ready())
    s.client(run_of("s"))
    assert not all(p.complete for p in s.commands[-1].parts)


def test_fetch_is_judged_by_its_declare() -> None:
    s = Session(lambda q: Allow())
    s.client(query("begin; declare c cursor for select email from users"))
    s.server(complete("BEGIN") + complete("DECLARE CURSOR") + ready("T"))
    s.client(query("fetch 2 from c"))
    tables = [p.facts.get("reads_tables") for p in s.commands[-1].parts]
    assert ("users",) in tables
    s.server(columns("email") + complete("FETCH 0") + ready("T"))
    s.client(query("fetch 2 from unseen"))
    assert not all(p.complete for p in s.commands[-1].parts)


def test_an_execute_of_what_was_prepared_anew_is_refused() -> None:
    s = Session(no_runs)
    s.client(query("begin; prepare s as select 1"))
    s.server(complete("BEGIN") + complete("PREPARE") + ready("T"))
    s.client(parse("", "execute s") + bind("p", "") + SYNC)
    s.server(f("1") + f("2") + ready("T"))
    s.client(query("deallocate s; prepare s as select 2"))
    s.server(complete("DEALLOCATE") + complete("PREPARE") + ready("T"))
    s.client(execute("p") + SYNC)
    assert kinds(s.sent[UPSTREAM])[-2:] == "PS"
    assert not s.waiting


def test_a_long_batch_on_a_confirmed_name_goes_on() -> None:
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC + parse("", "select 2") + bind("", "") * 400)
    s.client(bind("", "s"))
    assert s.commands[-1].text == "select 2", "s is in flight behind too many requests"
    s.server(f("1") + ready())
    assert s.commands[-1].text == "select 1"


def test_a_close_alone_does_not_settle_a_name() -> None:
    """Only the Parse behind it does."""
    s = Session(no_runs)
    s.client(parse("s", "select 1") + SYNC)
    s.server(f("1") + ready())
    s.client(close("S", "s") + parse("s", "delete from t") + SYNC)
    s.client(close("S", "s") + parse("s", "select 2") + SYNC)
    s.server(f("3"))
    s.client(run_of("s"))
    s.server(f("1") + ready() + f("3") + error("57014", "canceled") + ready())
    assert s.commands[-1].phase is Phase.PREPARE, "s is gone: the Bind is refused"
    assert kinds(s.sent[UPSTREAM])[-2:] == "PS"
