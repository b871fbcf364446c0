"""Results that may not be seen, and the text beside them."""

from __future__ import annotations

import re
import struct

import pytest
from pg_kit import (
    CLIENT,
    SYNC,
    UPSTREAM,
    Session,
    bind,
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
)

from protocols.contract import (
    Allow,
    Answer,
    Command,
    Done,
    Errand,
    Mask,
    Plan,
    Question,
    Refuse,
    Result,
    Screen,
)
from protocols.errors import WireError
from protocols.postgres.refusal import refused_error
from protocols.wire import Mark

STARS = Mask("redact", lambda value: b"***")


def masking(question: Question) -> Answer:
    if isinstance(question, Command):
        return Allow(masked="users" in question.text)
    if isinstance(question, Errand):
        return Done(None, "no catalog here")
    assert isinstance(question, Result)
    return Plan(tuple(STARS if c.name == "email" else None for c in question.columns))


def hiding(question: Question) -> Answer:
    if isinstance(question, Result):
        return Refuse("not this result", "pii")
    return masking(question)


ROWS = row(b"1", b"a@x.org") + row(b"2", None)
SHOWN = row(b"1", b"***") + row(b"2", None)
TEXT = "select id, email from users"


def test_rows_of_a_query_are_masked() -> None:
    s = Session(masking, masked=True)
    s.client(query(TEXT))
    head, tail = columns("id", "email"), complete("SELECT 2") + ready()
    s.server(head + ROWS + tail)
    assert s.sent[CLIENT] == head + SHOWN + tail
    assert [x.raw for x in s.spans if x.mark is Mark.EDITED] == [ROWS, SHOWN]
    result = s.questions[-1]
    assert isinstance(result, Result)
    assert result.command == s.commands[0].number


@pytest.mark.parametrize("cut", [1, 3, 7, 20])
def test_masked_rows_under_any_cut(cut: int) -> None:
    s = Session(masking, masked=True)
    s.client(query(TEXT))
    back = columns("id", "email") + ROWS + complete("SELECT 2") + ready()
    for at in range(0, len(back), cut):
        s.server(back[at : at + cut])
    assert s.sent[CLIENT] == back.replace(ROWS, SHOWN)


def test_nothing_is_shown_before_the_plan() -> None:
    s = Session(lambda q: None if isinstance(q, Result) else masking(q), masked=True)
    s.client(query(TEXT))
    s.server(columns("id", "email") + ROWS)
    s.server(complete("SELECT 2") + ready())
    assert kinds(s.sent[CLIENT]) == "T"
    assert s.traffic.held > 0
    s.answer(Plan((None, STARS)))
    assert s.sent[CLIENT].endswith(SHOWN + complete("SELECT 2") + ready())
    assert s.traffic.held == 0
    assert s.traffic.unforwarded == (0, 0)


def test_a_statement_that_nobody_describes_is_described_by_us() -> None:
    s = Session(masking, masked=True)
    s.client(parse("s", TEXT) + SYNC)
    s.server(f("1") + ready())
    s.client(bind("", "s") + execute() + SYNC)
    assert kinds(s.sent[UPSTREAM]) == "PSBDES"
    s.server(f("2") + columns("id", "email") + ROWS + complete("SELECT 2") + ready())
    assert kinds(s.sent[CLIENT]) == "1Z2DDCZ"
    assert SHOWN in s.sent[CLIENT]


def test_a_portal_that_the_client_describes_is_not_described_twice() -> None:
    s = Session(masking, masked=True)
    raw = parse("", TEXT) + bind("", "") + describe("P") + execute("", 1) + execute("", 1) + SYNC
    s.client(raw)
    assert s.sent[UPSTREAM] == raw
    s.server(f("1") + f("2") + columns("id", "email") + row(b"1", b"a@x") + f("s"))
    s.server(row(b"2", b"b@x") + f("s") + ready())
    assert kinds(s.sent[CLIENT]) == "12TDsDsZ"
    assert b"@x" not in s.sent[CLIENT]
    assert sum(isinstance(q, Result) for q in s.questions) == 1


def test_a_hidden_result_of_a_query() -> None:
    s = Session(hiding, masked=True)
    s.client(query(TEXT + "; select 2") + query("select 3"))
    s.server(columns("id", "email") + ROWS + complete("SELECT 2"))
    s.server(columns("a") + row(b"2") + complete("SELECT 1") + ready())
    s.server(columns("a") + row(b"3") + complete("SELECT 1") + ready())
    assert kinds(s.sent[CLIENT]) == "TEZTDCZ"
    said = fields(frames(s.sent[CLIENT])[1][1])
    assert said["C"] == "42501"
    assert "pii" in said["M"]
    assert "has run" in said["D"]
    assert b"a@x.org" not in s.sent[CLIENT]


def test_a_hidden_result_in_a_pipeline_skips_to_sync() -> None:
    s = Session(hiding, masked=True)
    s.client(parse("", TEXT) + bind("", "") + describe("P") + execute())
    s.server(f("1") + f("2") + columns("id", "email") + ROWS + complete("SELECT 2"))
    s.client(parse("", "select 2") + bind("", "") + execute() + SYNC)
    assert kinds(s.sent[UPSTREAM]) == "PBDES", "nothing of the batch goes on behind the refusal"
    s.server(ready())
    assert kinds(s.sent[CLIENT]) == "12TEZ"


def test_a_row_too_large_to_mask_is_hidden() -> None:
    s = Session(masking, masked=True, limit=100_000)
    s.client(query(TEXT))
    big = row(b"1", b"x" * 300_000)
    back = columns("id", "email") + big + complete("SELECT 1") + ready()
    for at in range(0, len(back), 65536):
        s.server(back[at : at + 65536])
        assert s.traffic.unforwarded[UPSTREAM] < 100_000
    assert kinds(s.sent[CLIENT]) == "TEZ"
    assert b"xxxx" not in s.sent[CLIENT]
    assert b"The statement has run" in s.sent[CLIENT]


def test_copy_out_is_masked_or_hidden() -> None:
    described = f("H", b"\0" + struct.pack(">HHH", 2, 0, 0))
    rows = f("d", b"1\ta@x.org\n") + f("c") + complete("COPY 1") + ready()
    s = Session(hiding, masked=True)
    s.client(query("copy users to stdout") + query("select 1"))
    s.server(described + rows + columns("a") + complete("SELECT 0") + ready())
    assert kinds(s.sent[CLIENT]) == "EZTCZ"
    assert b"a@x" not in s.sent[CLIENT]

    def starring(question: Question) -> Answer:
        if isinstance(question, Result):
            return Plan((None, STARS))
        return masking(question)

    s = Session(starring, masked=True)
    s.client(query("copy users to stdout"))
    s.server(described + rows)
    assert kinds(s.sent[CLIENT]) == "HdcCZ"
    assert b"a@x" not in s.sent[CLIENT]


LEAK = "duplicate key (email)=(a@x.org)"


def test_errors_and_notices_beside_masked_rows_are_withheld() -> None:
    s = Session(masking, masked=True)
    s.client(query(TEXT))
    more = {"D": LEAK, "W": LEAK, "H": LEAK, "q": LEAK, "n": "users_key", "R": "_bt_check"}
    note = error("01000", LEAK, "NOTICE", **more)
    s.server(b"N" + note[1:] + error("23505", LEAK, **more) + ready())
    assert b"a@x.org" not in s.sent[CLIENT]
    assert kinds(s.sent[CLIENT]) == "NEZ"
    said = fields(frames(s.sent[CLIENT])[1][1])
    assert said["C"] == "23505"
    assert said["n"] == "users_key"
    assert said["M"].startswith("integrity constraint violation (text withheld")
    s.client(query("select 1"))
    s.server(error("22012", LEAK) + ready())
    assert s.sent[CLIENT].endswith(error("22012", LEAK) + ready())


def test_raised_errors_lose_their_names_and_codes_too() -> None:
    s = Session(masking, masked=True)
    s.client(query(TEXT))
    s.server(error("a1x2y", "x", n="a@x.org", c="a@x.org", R="exec_stmt_raise") + ready())
    said = fields(frames(s.sent[CLIENT])[0][1])
    assert said["C"] == "XX000"
    assert "n" not in said
    assert "c" not in said


def test_the_syntax_errors_of_a_known_command_keep_their_text() -> None:
    s = Session(masking, masked=True)
    s.client(query(TEXT))
    raw = error("42703", 'column "emial" does not exist', P="8", R="errorMissingColumn")
    s.server(raw + ready())
    assert s.sent[CLIENT] == raw + ready()


def test_an_error_of_that_class_may_be_about_a_value() -> None:
    """``current_setting(email)`` has no place, ``email::regtype`` a context."""
    for more in ({"R": "find_option"}, {"R": "scanner_yyerror", "P": "4", "W": "type a@x.org"}):
        s = Session(masking, masked=True)
        s.client(query(TEXT))
        s.server(error("42704", 'unrecognized "a@x.org"', **more) + ready())
        assert b"a@x.org" not in s.sent[CLIENT]
        assert kinds(s.sent[CLIENT]) == "EZ"


def test_payloads_and_reports_on_a_masked_target() -> None:
    s = Session(masking, masked=True)
    s.server(f("A", b"\0\0\0\1chan\0a@x.org\0") + f("S", b"application_name\0a@x.org\0"))
    assert b"a@x.org" not in s.sent[CLIENT]
    assert kinds(s.sent[CLIENT]) == "AS"
    assert b"chan\0[masked]\0" in s.sent[CLIENT]
    s = Session(masking, masked=False)
    raw = f("A", b"\0\0\0\1chan\0a@x.org\0") + f("S", b"application_name\0psql\0")
    s.server(raw)
    assert s.sent[CLIENT] == raw
    assert s.parameters == {"application_name": "psql"}


def test_what_detection_finds_in_errors_is_starred() -> None:
    def spans(data: bytes) -> list[tuple[int, int]]:
        return [m.span() for m in re.finditer(rb"[a-z]@x\.org", data)]

    def detecting(question: Question) -> Answer:
        if isinstance(question, Result):
            return Plan((None, None), Screen(spans, 64))
        return masking(question)

    s = Session(detecting, masked=True)
    s.client(query(TEXT))
    s.server(columns("id", "email") + ROWS + complete("SELECT 2") + ready())
    assert b"a@x.org" not in s.sent[CLIENT]
    s.client(query("select 1"))
    s.server(error("22000", "not a@x.org") + ready())
    assert b"not *******" in s.sent[CLIENT]


def test_what_was_sent_behind_a_hidden_result_is_silent_until_sync() -> None:
    s = Session(hiding, masked=True)
    batch = parse("", TEXT) + bind("", "") + describe("P") + execute()
    s.client(batch + parse("", "select 2") + bind("", "") + describe("P") + execute() + SYNC)
    first = f("1") + f("2") + columns("id", "email") + ROWS + complete("SELECT 2")
    second = f("1") + f("2") + columns("a") + row(b"2") + row(b"x" * 99_999) + complete("SELECT 1")
    s.server(first + second + ready() + f("A", b"\0\0\0\1chan\0\0"))
    assert kinds(s.sent[CLIENT]) == "12TEZA"
    s.client(query("select 1"))
    s.server(columns("a") + row(b"1") + complete("SELECT 1") + ready())
    assert kinds(s.sent[CLIENT]) == "12TEZATDCZ"


def test_a_portal_whose_rebinding_was_skipped_is_still_masked() -> None:
    """After ROLLBACK TO the old portal lives, and the new one never did."""
    s = Session(masking, masked=True)
    s.client(query("begin") + parse("", TEXT) + bind("p", "") + SYNC + query("savepoint a"))
    s.server(complete("BEGIN") + ready("T") + f("1") + f("2") + ready("T"))
    s.server(complete("SAVEPOINT") + ready("T"))
    s.client(parse("", "select 1/0") + bind("", "") + execute())
    s.client(parse("", "select 'x', 'y'") + bind("p", "") + SYNC + query("rollback to a"))
    s.server(f("1") + f("2") + error("22012", "division by zero") + ready("E"))
    s.server(complete("ROLLBACK") + ready("T"))
    s.client(execute("p") + SYNC)
    assert kinds(s.sent[UPSTREAM])[-3:] == "DES"
    s.server(columns("id", "email") + ROWS + complete("SELECT 2") + ready("T"))
    assert b"a@x.org" not in s.sent[CLIENT]
    assert SHOWN in s.sent[CLIENT]


def test_a_withdrawn_command_is_refused_as_canceled() -> None:
    """In the server's words for a cancel, not as a block by a rule."""
    said = refused_error(Refuse("withdrawn by the client", rule="r", kind="withdrawn"), "S1")
    assert b"C57014\0" in said
    assert b"canceling statement due to user request" in said
    assert b"blocked" not in said


COPY = "copy users to stdout"
BEGUN = f("H", b"\0\0\1\0\0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (COPY, [BEGUN, f("d", b"x\n"), row(b"a@x.org")]),
        (COPY, [BEGUN, row(b"a@x.org")]),
        (TEXT, [columns("id", "email"), ROWS, f("d", b"a@x.org\n")]),
        (TEXT, [columns("id", "email"), ROWS, f("c")]),
    ],
)
def test_rows_in_a_copy_and_copies_in_rows_are_lies(text: str, said: list[bytes]) -> None:
    def starring(question: Question) -> Answer:
        if isinstance(question, Result):
            return Plan((STARS,) * len(question.columns))
        return masking(question)

    s = Session(starring, masked=True)
    s.client(query(text))
    for raw in said[:-1]:
        s.server(raw)
    with pytest.raises(WireError):
        s.server(said[-1])
    assert b"a@x.org" not in s.sent[CLIENT]
