"""The query phase: judged, passed on, refused, with true answers."""

from __future__ import annotations

import re

import pytest
from pg_kit import (
    CLIENT,
    SYNC,
    TERMINATE,
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
    fields,
    frames,
    kinds,
    parse,
    query,
    ready,
    row,
    talk,
)

from protocols.contract import Allow, Answer, Command, Phase, Question, Refuse, Screen
from protocols.errors import WireError
from protocols.postgres.traffic import REQUEST
from protocols.wire import Mark, Move

RESULTS = {
    "select 1": columns("a") + row(b"1") + complete("SELECT 1"),
    "select 2": columns("a") + row(b"2") + complete("SELECT 1"),
    "delete from t": complete("DELETE 5"),
    "set x = 1": complete("SET"),
    "prepare s as delete from t": complete("PREPARE"),
    "prepare s as select 1": complete("PREPARE"),
    "execute s": complete("DELETE 5"),
    "deallocate s": complete("DEALLOCATE"),
    "fail": error("22012", "division by zero"),
}


def no_deletes(question: Question) -> Answer:
    assert isinstance(question, Command)
    if any(part.action == "sql.delete" for part in question.parts):
        return Refuse("deleting is not for you", "no-deletes")
    return Allow()


def test_a_query_passes_untouched_as_one_object() -> None:
    s = Session()
    raw = query("select 1")
    s.client(raw)
    [span] = s.spans
    assert span.move is Move.PASS
    assert span.raw is raw
    back = RESULTS["select 1"] + ready()
    s.server(back)
    assert s.spans[1].raw is back
    assert s.texts() == ["select 1"]


def test_a_pipeline_asks_one_after_the_other_and_leaves_whole() -> None:
    s = Session()
    raw = parse("", "select 1", 23) + bind("", "", b"7") + describe("P") + execute() + SYNC
    s.client(raw)
    assert [span.raw is raw for span in s.spans] == [True]
    prepare, run = s.commands
    assert (prepare.phase, run.phase) == (Phase.PREPARE, Phase.RUN)
    assert run.text == "select 1"
    assert run.parameters[0].value == b"7"
    assert run.parameters[0].type == "23"
    assert run.parameters[0].form == "text"


def test_a_refused_query_fails_upstream_and_the_next_one_runs() -> None:
    s, server = Session(no_deletes), Server(RESULTS)
    out = talk(s, server, query("delete from t") + query("select 1"))
    assert kinds(out) == "EZTDCZ"
    said = fields(frames(out)[0][1])
    assert said["C"] == "42501"
    assert said["S"] == "ERROR"
    assert said["M"] == "blocked by rule no-deletes: deleting is not for you"
    assert "s1" in said["D"]
    assert "delete from t" not in server.ran
    assert server.ran[-1] == "select 1"
    assert b"delete" not in s.sent[UPSTREAM]
    assert b"wirewarden" not in out


@pytest.mark.parametrize("named", ["", "p1"])
def test_a_refused_parse_skips_to_sync(named: str) -> None:
    s, server = Session(no_deletes), Server(RESULTS)
    batch = parse(named, "delete from t") + bind("", named) + execute() + SYNC
    out = talk(s, server, batch + parse("q", "select 1") + bind("", "q") + execute() + SYNC)
    assert kinds(out) == "EZ12DCZ"
    assert server.ran == ["select 1"]
    assert b"delete" not in s.sent[UPSTREAM]
    assert len(s.commands) == 3  # the Bind behind the refused Parse isn't asked about


@pytest.mark.parametrize("named", ["", "a"])
def test_what_the_server_skips_is_on_record_as_what_it_was(named: str) -> None:
    """It failed before the rest was sent: of that it knows nothing."""
    s, server = Session(), Server(RESULTS)
    talk(s, server, parse(named, "fail") + bind("", named) + execute())
    for text in ("select 1", "select 2"):
        assert talk(s, server, parse(named, text) + bind("", named) + execute()) == b""
    out = talk(s, server, parse("b", "select 3") + bind("", named) + execute() + SYNC)
    assert kinds(out) == "Z"
    texts = [c.text for c in s.commands if c.phase is Phase.RUN]
    assert texts == ["fail", "select 1", "select 2", "select 2"]
    assert server.ran == ["fail"]
    # After the Sync only what the server has heard of is known.
    if named:
        return
    out = talk(s, server, bind("", "b") + SYNC)
    assert fields(frames(out)[0][1])["C"] == "26000"


def test_a_refused_bind_leaves_what_came_before_it() -> None:
    def judge(question: Question) -> Answer:
        assert isinstance(question, Command)
        gone = question.phase is Phase.RUN and question.text == "delete from t"
        return Refuse("no", "r") if gone else Allow()

    s, server = Session(judge), Server(RESULTS)
    one = parse("a", "select 1") + bind("", "a") + execute()
    two = parse("b", "delete from t") + bind("", "b") + execute() + bind("", "a") + execute()
    out = talk(s, server, one + two + SYNC)
    assert kinds(out) == "12DC1EZ"
    assert server.ran == ["select 1"]


def test_what_the_server_fails_first_is_what_the_client_sees() -> None:
    s, server = Session(no_deletes), Server(RESULTS)
    out = talk(s, server, bind("", "a") + parse("", "delete from t") + SYNC + query("select 1"))
    # The unknown statement is refused by us before the delete is even read.
    assert kinds(out) == "EZTDCZ"
    assert fields(frames(out)[0][1])["C"] == "26000"
    batch = parse("", "fail") + bind("", "") + execute() + parse("", "delete from t") + SYNC
    out = talk(s, server, batch + query("select 2"))
    assert kinds(out) == "12EZTDCZ"
    assert fields(frames(out)[2][1])["C"] == "22012"


def test_words_are_fresh_and_an_error_that_quotes_another_is_not_ours() -> None:
    s = Session(no_deletes)
    s.client(query("delete from t"))
    word = re.findall(rb"wirewarden_[0-9a-f]{32}", s.sent[UPSTREAM])[0]
    s.server(error("57014", "canceling statement due to statement timeout") + ready())
    assert fields(frames(s.sent[CLIENT])[0][1])["C"] == "57014"
    s.client(query("delete from t"))
    words = re.findall(rb"wirewarden_[0-9a-f]{32}", s.sent[UPSTREAM])
    assert words[1] != word
    note = f("N", b"SLOG\0VLOG\0C00000\0Mstatement: " + words[1] + b"\0\0")
    s.server(note + error("42601", f'near "{words[1].decode()}"') + note + ready("E"))
    assert kinds(s.sent[CLIENT]) == "EZEZ"
    assert b"wirewarden_" not in s.sent[CLIENT]


def test_nothing_passes_an_unanswered_question() -> None:
    s = Session(lambda q: None)
    s.client(parse("", "select 1") + bind("", "") + execute())
    s.client(SYNC)
    assert s.sent[UPSTREAM] == b""
    assert s.traffic.held > 0
    s.answer(Allow())
    assert kinds(s.sent[UPSTREAM]) == "P"
    assert len(s.waiting) == 1
    s.answer(Allow())
    assert s.sent[UPSTREAM] == s.arrived[CLIENT]
    assert s.traffic.held == 4 * REQUEST  # what is remembered of them
    assert [x.move for x in s.spans if x.side is CLIENT].count(Move.FORWARD) == 2


def test_a_notice_while_it_waits_and_a_withdrawal() -> None:
    s = Session(lambda q: None)
    s.client(query("select 1") + query("select 2"))
    s.traffic.say(1, "waiting for dba")
    s.drain()
    assert kinds(s.sent[CLIENT]) == "N"
    assert b"waiting for dba" in s.sent[CLIENT]
    s.traffic.withdraw(1)
    s.drain()
    server = Server(RESULTS)
    s.server(server.receive(s.take(UPSTREAM)))
    assert kinds(s.sent[CLIENT]) == "NEZ"
    assert fields(frames(s.sent[CLIENT])[1][1])["C"] == "57014"
    assert [q.text for q in s.waiting[1:]] == ["select 2"]


@pytest.mark.parametrize("end", [b"", TERMINATE])
def test_a_client_that_leaves_while_it_waits(end: bytes) -> None:
    s = Session(lambda q: None)
    s.client(query("delete from t"))
    s.client(end)
    assert s.traffic.closing
    assert s.sent[UPSTREAM] == TERMINATE
    assert s.traffic.unforwarded == (0, 0)
    assert s.traffic.answer(1, Allow()) == []


def test_terminate_after_a_query_waits_for_its_answer() -> None:
    s, server = Session(), Server(RESULTS)
    s.client(query("select 1") + TERMINATE)
    assert kinds(s.sent[UPSTREAM]) == "QX"
    assert not s.traffic.closing
    s.server(server.receive(query("select 1")))
    assert s.traffic.closing
    assert kinds(s.sent[CLIENT]) == "TDCZ"


def test_dismissed_in_postgres_words() -> None:
    s = Session()
    s.traffic.dismiss(Refuse("the gateway stops", kind="shutdown"))
    s.drain()
    said = fields(frames(s.sent[CLIENT])[0][1])
    assert (said["S"], said["C"]) == ("FATAL", "57P01")
    assert s.sent[UPSTREAM] == TERMINATE
    assert s.traffic.closing


def test_function_calls_are_commands_too() -> None:
    s = Session(lambda q: Refuse("no", "calls"))
    s.client(f("F", b"\0\0\3\xbd\0\0\0\1\0\0\0\2hi\0\0"))
    [command] = s.commands
    assert command.parts[0].action == "sql.function_call"
    assert not command.parts[0].complete
    assert command.text == "function call oid 957"
    assert command.parameters[0].value == b"hi"
    assert kinds(s.sent[UPSTREAM]) == "Q"


@pytest.mark.parametrize(
    "text",
    [
        "set standard_conforming_strings = off",
        "set client_encoding to 'SJIS'",
        "select set_config('client_encoding', 'SJIS', false)",
        "select 1; set local standard_conforming_strings to off",
    ],
)
def test_settings_of_the_lexer_stay(text: str) -> None:
    s, server = Session(), Server(RESULTS)
    for raw in (query(text), parse("", text) + SYNC):
        out = talk(s, server, raw)
        assert kinds(out) == "EZ"
        assert b"lexer-guard" in out
    assert s.commands == []
    assert server.ran[0].startswith("wirewarden")


def test_a_reported_lexer_setting_ends_the_session() -> None:
    s = Session()
    s.client(query("select f()"))
    with pytest.raises(WireError) as caught:
        s.server(f("S", b"standard_conforming_strings\0off\0") + complete("SELECT 1") + ready())
    assert caught.value.side is CLIENT
    assert kinds(s.sent[CLIENT]) == "E"
    assert s.traffic.closing


def test_text_that_is_not_utf8_is_one_unparsed_part() -> None:
    s = Session()
    raw = f("Q", b"select '\x95\x5c'\0")
    s.client(raw)
    [command] = s.commands
    assert [p.action for p in command.parts] == ["sql.unparsed"]
    assert s.sent[UPSTREAM] == raw


@pytest.mark.parametrize(
    "raw",
    [
        f("Q", b"select 1\0; drop\0"),
        f("Q", b"select 1"),
        f("Q"),
        b"Q\0\0\0\3",
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
        b"p\0\0\0\4",
        f("S", b"x"),
        f("B", b"\0\0\0\1\0\2\0\0\0\0"),
        f("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
        f("B", b"\0\0\0\0\0\1\0\0\0\5abc\0\0"),
        f("B", b"\0\0\0\0\xff\xff\0\0"),
        f("B", b"\0\0\0\0\0\0\0\0\0"),
        f("P", b"a\0select 1\0\0\1\0\0\0"),
        f("D", b"Xname\0"),
        f("E", b"\0\0\0\0"),
    ],
)
def test_a_lying_client_is_cut_off(raw: bytes) -> None:
    s = Session()
    with pytest.raises(WireError) as caught:
        s.client(raw)
    assert caught.value.side is CLIENT
    assert s.sent[UPSTREAM] == TERMINATE
    assert kinds(s.sent[CLIENT]) == "E"
    assert s.traffic.closing
    s.client(query("select 1"))
    assert s.sent[UPSTREAM] == TERMINATE


@pytest.mark.parametrize(
    "raw",
    [
        f("y"),
        f("E", b"SERROR\0Mno state\0\0"),
        f("E", b"SERROR\0C4250\0\0"),
        f("E", b"SERROR\0C42501\0"),
        b"D\0\0\0\5\0",
        b"D\xff\xff\xff\xff",
        b"C\0\0\0\0",
        f("Z", b"Q"),
        f("2"),
        f("R", b"\0\0\0\0"),
        f("W", b"\0\0\0"),
        f("1", b"x"),
    ],
)
def test_a_lying_server_ends_the_session(raw: bytes) -> None:
    s = Session()
    s.client(query("select 1"))
    with pytest.raises(WireError) as caught:
        s.server(raw)
    assert caught.value.side is UPSTREAM
    assert kinds(s.sent[CLIENT]) == "E"
    assert s.traffic.closing


def test_rows_that_nobody_asked_for_end_the_session() -> None:
    s = Session()
    with pytest.raises(WireError):
        s.server(row(b"1"))


def test_copy_in_passes_only_where_it_was_allowed() -> None:
    s = Session()
    s.client(f("d", b"stray\n"))
    assert s.sent[UPSTREAM] == b""
    s.client(query("copy t from stdin") + f("d", b"early\n"))
    s.server(f("G", b"\0\0\1\0\0"))
    s.client(f("d", b"1\n") + SYNC + f("d", b"2\n") + f("c"))
    assert kinds(s.sent[UPSTREAM]) == "QddSdc"
    s.server(complete("COPY 3") + ready())
    s.client(f("d", b"late\n") + f("c") + query("select 1"))
    assert kinds(s.sent[UPSTREAM]) == "QddSdcQ"
    s.server(RESULTS["select 1"] + ready())
    assert kinds(s.sent[CLIENT]) == "GCZTDCZ"


def test_copy_in_refused_takes_its_data_with_it() -> None:
    s = Session(lambda q: Refuse("no"))
    s.client(query("copy t from stdin") + f("d", b"Q\0\0\0\4") + f("c"))
    assert kinds(s.sent[UPSTREAM]) == "Q"
    assert b"copy" not in s.sent[UPSTREAM]


def test_copy_in_extended_swallows_the_first_sync() -> None:
    s = Session()
    s.client(parse("", "copy t from stdin") + bind("", "") + execute() + SYNC)
    s.server(f("1") + f("2") + f("G", b"\0\0\1\0\0"))
    s.client(f("d", b"1\n") + f("c") + SYNC)
    s.server(complete("COPY 1") + ready())
    s.client(query("select 1"))
    s.server(RESULTS["select 1"] + ready())
    assert kinds(s.sent[CLIENT]) == "12GCZTDCZ"


def test_large_fields_stream() -> None:
    s = Session()
    s.client(query("select 1"))
    size = 300_000
    big = row(b"x" * size)
    s.server(columns("a") + big[:1000])
    assert s.traffic.unforwarded[UPSTREAM] == 0
    for at in range(1000, len(big), 65536):
        s.server(big[at : at + 65536])
        assert s.traffic.unforwarded[UPSTREAM] == 0
    s.traffic.say(0, "hello")
    s.server(complete("SELECT 1") + ready())
    assert kinds(s.sent[CLIENT]) == "TDNCZ"


def test_a_large_copy_data_streams() -> None:
    s = Session(limit=1000)
    s.client(query("copy t from stdin"))
    s.server(f("G", b"\0\0\1\0\0"))
    big = f("d", b"x" * 5000)
    for at in range(0, len(big), 700):
        s.client(big[at : at + 700])
        assert s.traffic.unforwarded[CLIENT] < 5
    s.client(f("c"))
    assert s.sent[UPSTREAM].endswith(big + f("c"))
    with pytest.raises(WireError):
        s.client(query("x" * 1000))


def own_screen(word: bytes) -> Screen:
    def spans(data: bytes) -> list[tuple[int, int]]:
        return [m.span() for m in re.finditer(re.escape(word), data)]

    return Screen(spans, len(word))


@pytest.mark.parametrize("cut", range(1, 90, 4))
def test_own_secrets_never_reach_the_client(cut: int) -> None:
    s = Session(own=own_screen(b"hunter2!"))
    s.client(query("select 1"))
    back = columns("a") + row(b"x hunter2!", b"hunter2!") + row(b"y")
    back += error("22000", "hunter2! is wrong") + ready()
    for at in range(0, len(back), cut):
        s.server(back[at : at + cut])
    assert b"hunter2!" not in s.sent[CLIENT]
    assert kinds(s.sent[CLIENT]) == "TDDEZ"
    assert s.sent[CLIENT] == back.replace(b"hunter2!", b"********")


@pytest.mark.parametrize("back_by", range(10))
@pytest.mark.parametrize("reads", [1, 2, 3])
def test_own_secrets_in_a_field_that_streams(reads: int, back_by: int) -> None:
    s = Session(own=own_screen(b"hunter2!"))
    s.client(query("select 1"))
    head = columns("a")
    value = bytearray(b"x" * 200_000)
    place = 65536 * reads - len(head) - 11 - back_by
    value[place : place + 8] = b"hunter2!"
    back = head + row(bytes(value)) + complete("SELECT 1") + ready()
    for at in range(0, len(back), 65536):
        s.server(back[at : at + 65536])
    assert s.sent[CLIENT] == back.replace(b"hunter2!", b"********")
    assert s.marks(Mark.EDITED).count(b"hunter2!") == 1


def test_close_and_rebind_follow_the_order_of_messages() -> None:
    s, server = Session(no_deletes), Server(RESULTS)
    talk(s, server, parse("s", "select 1") + SYNC)
    batch = close("S", "s") + parse("s", "select 2") + bind("", "s") + execute() + SYNC
    out = talk(s, server, batch)
    assert kinds(out) == "312DCZ"
    assert s.texts()[-1] == "select 2"


def test_at_rest_only_between_transactions() -> None:
    s = Session()
    assert s.traffic.at_rest
    s.client(parse("", "select 1") + bind("", "") + execute())
    s.server(f("1") + f("2") + row(b"1") + complete("SELECT 1"))
    assert not s.traffic.at_rest
    s.client(SYNC)
    s.server(ready("T"))
    assert not s.traffic.at_rest
    s.client(query("commit"))
    s.server(complete("COMMIT") + ready())
    assert s.traffic.at_rest
    s.client(b"Q\0")
    assert not s.traffic.at_rest
