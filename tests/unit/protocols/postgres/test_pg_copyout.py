"""COPY: rows are found at any cut, masked, and read back as the format says."""

from __future__ import annotations

import csv
import io
import re
import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.masks import build
from protocols.contract import Mask, Plan, Screen
from protocols.errors import LimitError, WireError
from protocols.postgres import lineloop, tupleloop
from protocols.postgres.copyout import CopyMasker, columns_query, copied, unknown, unmaskable
from protocols.postgres.copytext import CopyText
from protocols.postgres.fields import Field
from protocols.postgres.rows import COMPILED
from protocols.sql import CopyShape, analyse
from protocols.wire import Side

Row = list[bytes | None]

REDACT = Mask("redact", lambda value: b'[re,\tda\\ct"ed\n]')
NULL = Mask("null", lambda value: None)
MARK = Mask("hash", lambda value: b"<" + value[::-1] + b">")
SECRET = b"4111-2222"
DETECT = Screen(lambda data: [m.span() for m in re.finditer(rb"\d{4}-\d{4}", data)], 9)


def shape(sql: str) -> CopyShape:
    found = analyse(f"COPY t TO STDOUT {sql}").statements[0].copy
    assert found is not None
    return found


SHAPES = [
    shape(""),
    shape("(DELIMITER '|', NULL 'nil')"),
    shape("(HEADER)"),
    shape("(FORMAT csv)"),
    shape("(FORMAT csv, HEADER, DELIMITER ';', NULL 'NULL')"),
    shape("(FORMAT csv, QUOTE '''', ESCAPE '\\', FORCE_QUOTE *)"),
    shape("(FORMAT binary)"),
]


def fields(count: int) -> list[Field]:
    return [Field(f"c{i}", 0, 0, 25, -1, -1, 0) for i in range(count)]


def write(how: CopyShape, table: list[Row]) -> list[bytes]:
    """The payloads that a server sends: an independent writer, one per row."""
    if how.format == "binary":
        out = [b"PGCOPY\n\xff\r\n\0" + bytes(4) + struct.pack(">I", 3) + b"ext"]
        for row in table:
            cells = (b"\xff" * 4 if v is None else struct.pack(">i", len(v)) + v for v in row)
            out.append(struct.pack(">h", len(row)) + b"".join(cells))
        return [*out, b"\xff\xff"]
    delimiter, null = how.delimiter.encode(), how.null.encode()
    lines = [b"h\n"] if how.header else []
    for row in table:
        cells = []
        for value in row:
            v = null if value is None else value
            if value is not None and how.format == "text":
                v = v.replace(b"\\", b"\\\\")
                for raw, letter in zip(b"\b\f\n\r\t\v", b"bfnrtv", strict=True):
                    v = v.replace(bytes([raw]), b"\\" + bytes([letter]))
                v = v if delimiter == b"\t" else v.replace(delimiter, b"\\" + delimiter)
            elif value is not None:
                quote, escape = how.quote.encode(), how.escape.encode()
                special = {delimiter, quote, b"\n", b"\r"} & {bytes([c]) for c in v}
                if special or v in (null, b"", b"\\.") or escape != quote:
                    v = v if escape == quote else v.replace(escape, escape * 2)
                    v = quote + v.replace(quote, escape + quote) + quote
            cells.append(v)
        lines.append(delimiter.join(cells) + b"\n")
    return lines


def read(how: CopyShape, raw: bytes) -> list[Row]:
    """An independent reader."""
    table: list[Row] = []
    if how.format == "binary":
        assert raw[:22] == b"PGCOPY\n\xff\r\n\0" + bytes(4) + struct.pack(">I", 3) + b"ext"
        at = 22
        while raw[at : at + 2] != b"\xff\xff":
            (count,) = struct.unpack_from(">h", raw, at)
            at += 2
            row: Row = []
            for _ in range(count):
                (size,) = struct.unpack_from(">i", raw, at)
                at += 4
                row.append(None if size < 0 else raw[at : at + size])
                at += max(size, 0)
            table.append(row)
        assert at + 2 == len(raw)
        return table
    null = how.null.encode()
    if how.format == "text":
        letters = dict(zip("bfnrtv", "\b\f\n\r\t\v", strict=True))
        cell = re.compile(
            r"((?:[^\\"
            + re.escape(how.delimiter)
            + r"\n]|\\[\s\S])*)([\n"
            + re.escape(how.delimiter)
            + "])"
        )
        row = []
        for found in cell.finditer(raw.decode("latin-1")):
            value = re.sub(r"\\([\s\S])", lambda m: letters.get(m[1], m[1]), found[1])
            row.append(None if found[1].encode("latin-1") == null else value.encode("latin-1"))
            if found[2] == "\n":
                table.append(row)
                row = []
        return table[how.header :]
    text = raw.decode("latin-1")
    if how.escape == how.quote:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=how.delimiter, quotechar=how.quote
        )
        for line in reader:
            table.append([v.encode("latin-1") for v in line or [""]])
        return table[how.header :]
    quoted = re.compile(r"'((?:[^'\\]|\\[\s\S])*)'([,\n])|([^',\n]*)([,\n])")
    row = []
    for found in quoted.finditer(text):
        if found[2]:
            row.append(re.sub(r"\\([\\'])", r"\1", found[1]).encode("latin-1"))
        else:
            row.append(None if found[3] == how.null else found[3].encode("latin-1"))
        if (found[2] or found[4]) == "\n":
            table.append(row)
            row = []
    return table


nasty = st.lists(
    st.sampled_from(
        [b"a", b"\\", b"\t", b"\n", b"\r", b",", b";", b"|", b'"', b"'", b".", b"N", b"\xc3\xa9"]
    ),
    max_size=6,
).map(b"".join)
cell = st.none() | nasty | nasty.map(lambda v: v + SECRET)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=5))


def cuts(raw: bytes, data: st.DataObject) -> list[bytes]:
    if data.draw(st.booleans(), "bytewise"):
        return [raw[i : i + 1] for i in range(len(raw))]
    places = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=6)))
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]


def run(masker: CopyMasker, pieces: list[bytes]) -> bytes:
    return b"".join([*(masker.feed(piece) for piece in pieces), masker.end()])


def same(how: CopyShape, shown: Row, want: Row) -> bool:
    """The csv reader of the standard library can't tell NULL from text."""
    if how.format == "csv" and how.escape == how.quote:
        return [how.null.encode() if v is None else v for v in want] == shown
    return shown == want


@given(st.sampled_from(SHAPES), tables(), st.data())
def test_masked_at_any_cut(how: CopyShape, table: list[Row], data: st.DataObject) -> None:
    width = len(table[0]) if table else 1
    plan = data.draw(
        st.lists(st.sampled_from([None, REDACT, NULL, MARK]), min_size=width, max_size=width)
    )
    raw = b"".join(write(how, table))
    masker = CopyMasker(how, fields(width), Plan(tuple(plan)))
    shown = run(masker, cuts(raw, data))
    want = [
        [v if v is None or m is None else m.apply(v) for v, m in zip(row, plan, strict=True)]
        for row in table
    ]
    if how.null == "nil":  # the text format can't tell that text from NULL
        want = [[None if v == b"nil" else v for v in row] for row in want]
    got = read(how, shown)
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert same(how, one, other), (one, other)
    assert sum(masker.masked) == sum(
        v is not None and m is not None for row in table for v, m in zip(row, plan, strict=True)
    )


@given(st.sampled_from(SHAPES), tables(), st.data())
def test_no_mask_is_the_identity(how: CopyShape, table: list[Row], data: st.DataObject) -> None:
    width = len(table[0]) if table else 1
    raw = b"".join(write(how, table))
    for detect in (None, Screen(lambda seen: [], 1)):
        masker = CopyMasker(how, fields(width), Plan((None,) * width, detect))
        assert run(masker, cuts(raw, data)) == raw


@given(st.sampled_from(SHAPES), tables(), st.data())
def test_a_secret_never_comes_out(how: CopyShape, table: list[Row], data: st.DataObject) -> None:
    width = len(table[0]) if table else 1
    raw = b"".join(write(how, table))
    masker = CopyMasker(how, fields(width), Plan((None,) * width, DETECT))
    shown = run(masker, cuts(raw, data))
    assert SECRET not in shown
    assert read(how, shown) == read(how, raw.replace(SECRET, b"*********"))
    assert sum(masker.masked) == sum(v is not None and SECRET in v for row in table for v in row)


def frames(payloads: list[bytes]) -> bytes:
    return b"".join(b"d" + struct.pack(">i", len(p) + 4) + p for p in payloads)


def served(how: CopyShape, table: list[Row]) -> list[bytes]:
    """The payloads as a server cuts them: the binary header has no frame of
    its own."""
    payloads = write(how, table)
    return [payloads[0] + payloads[1], *payloads[2:]] if how.format == "binary" else payloads


@given(st.sampled_from(SHAPES), tables(), st.data())
def test_frames_in_frames_out(how: CopyShape, table: list[Row], data: st.DataObject) -> None:
    """One frame for each row, and the same bytes as payload by payload."""
    width = len(table[0]) if table else 1
    masks = st.sampled_from([None, REDACT, NULL, MARK])
    plan = Plan(tuple(data.draw(st.lists(masks, min_size=width, max_size=width))), DETECT)
    payloads = served(how, table)
    one = CopyMasker(how, fields(width), plan)
    want = frames([one.feed(payload) for payload in payloads])
    many = CopyMasker(how, fields(width), plan)
    cut = data.draw(st.integers(0, len(payloads)))
    assert many.frames(frames(payloads[:cut])) + many.frames(frames(payloads[cut:])) == want
    assert many.masked == one.masked


def test_what_is_no_run_of_frames_is_refused() -> None:
    masker = CopyMasker(shape(""), fields(1), Plan((REDACT,)))
    for raw in (b"D\0\0\0\4", b"d\0\0\0\3", b"d\0\0\0\5", b"d\xff\xff\xff\xff", b"d\0"):
        with pytest.raises(WireError):
            masker.frames(raw)


junk = st.lists(st.sampled_from([b"a", b"\\", b"\t", b"\n", b",", b'"', b"'", b"N"])).map(b"".join)


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
@settings(max_examples=400)
@given(
    st.lists(tables() | junk, max_size=1),
    st.sampled_from(SHAPES[:-1]),
    st.lists(
        st.sampled_from(
            [
                None,
                b"",
                b"X",
                lambda value: value[::-1] + b"!",
                lambda value: value,
                lambda value: None,
                build("keep-last", {"n": 1}),
                build("partial-email", {}),
                build("fixed-format", {}),
            ]
        ),
        max_size=4,
    ),
    st.booleans(),
    st.data(),
)
def test_the_compiled_loop_is_the_same(
    source: list[list[Row] | bytes],
    how: CopyShape,
    actions: list[Any],
    framed: bool,
    data: st.DataObject,
) -> None:
    from protocols.postgres import _rowloop

    block = b""
    for part in source:
        block = part if isinstance(part, bytes) else b"".join(write(how, part))
    if framed and data.draw(st.booleans()):
        pieces = cuts(block, data)
        block = frames(pieces) + data.draw(st.sampled_from([b"", b"d", b"d\0\0\0\3", b"D\0\0\0\4"]))
    lines = CopyText(how, [], Plan(()), None, masked=[], limit=1)._lines
    looks = bytes(act is not None for act in actions)
    for name, *args in (
        ("mask_lines", tuple(actions), lines, framed),
        ("gather_lines", looks, lines),
        ("payloads",),
    ):
        got = []
        for loop in (lineloop, _rowloop):
            try:
                got.append(getattr(loop, name)(block, *args))
            except ValueError as error:
                got.append(str(error))
        assert got[0] == got[1]


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
@settings(max_examples=400)
@given(tables(), st.data())
def test_the_compiled_loops_over_tuples_are_the_same(table: list[Row], data: st.DataObject) -> None:
    from protocols.postgres import _rowloop

    raw = bytearray(b"".join(write(SHAPES[-1], table))[22:])
    for _ in range(data.draw(st.integers(0, 2)) if raw else 0):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from([0, 1, 127, 255]))
    width = len(table[0]) if table else data.draw(st.integers(0, 2))
    limit = data.draw(st.integers(0, 20) | st.just(1 << 20))
    pieces = cuts(bytes(raw), data)
    got: list[Any] = []
    for loop in (tupleloop, _rowloop):
        held, at, left = bytearray(), 0, -1
        seen: list[Any] = []
        try:
            for piece in pieces:
                held += piece
                seen.append(loop.tuples(held, at, left, width, limit))
                rows, used, at, left, state = seen[-1]
                seen.append(loop.as_copy(rows))
                del held[:used]
                if state:
                    break
        except ValueError as error:
            seen.append(str(error))
        got.append(seen)
    assert got[0] == got[1]


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
def test_the_compiled_loops_over_tuples_refuse_alike() -> None:
    from protocols.postgres import _rowloop

    for loop in (tupleloop, _rowloop):
        for at, left in ((-1, -1), (4, -1), (0, -2), (0, 3)):
            with pytest.raises(ValueError, match="outside"):
                loop.tuples(b"abc", at, left, 2, 9)
        for bad in (b"D", b"d\0\0\0\4", b"D\0\0\0\3", b"D\0\0\0\5", b"D\xff\xff\xff\xff"):
            with pytest.raises(ValueError, match="DataRow"):
                loop.as_copy(bad)
        whole = b"D\0\0\0\5a"
        assert loop.as_copy(whole * 2) == b"d\0\0\0\5a" * 2
        assert whole[:1] == b"D"
        assert loop.as_copy(b"") == b""


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
@pytest.mark.parametrize("how", [*SHAPES[:-1], shape("(FORMAT csv, NULL '\"\"')")])
def test_the_compiled_loops_read_and_write_every_value(how: CopyShape) -> None:
    from protocols.postgres import _rowloop

    lines = CopyText(how, [], Plan(()), None, masked=[], limit=1)._lines
    values = [b"", b" a", b"a ", b"\x1ca", b"\\.", b"\\", b"ab@c", lines.null]
    values += [bytes([byte]) for byte in range(256)] + [b"a%cb" % byte for byte in range(256)]
    whole = bytes(lines.marks[:1]) + b"\n"
    for value in values:
        for block in (
            lines.write(value) + whole,
            b"a" + whole,
            b"a" + whole + value + whole,
            b"a" + whole[:1] + value + b"\n" + value + whole,
        ):
            for mask in (lambda raw: raw, lambda raw, to=value: to, build("fixed-format", {})):
                got: list[Any] = []
                for loop in (lineloop, _rowloop):
                    try:
                        shown = loop.mask_lines(block, (mask, None), lines, False)
                        got.append((shown, loop.gather_lines(block, b"\1\1", lines)))
                    except ValueError as error:
                        got.append(str(error))
                assert got[0] == got[1], (value, block)


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
@pytest.mark.parametrize(
    ("sql", "block", "why"),
    [
        ("", b"a\tb\nc\n\\", "columns"),
        ("", b"a\tb\\\t\tc", "columns"),
        ("", b"a\tb\n\\", "well-formed"),
        ("", b"a\tb\nc\td", "well-formed"),
        ("(FORMAT csv)", b'a,b\n"c"\n"', "columns"),
        ("(FORMAT csv)", b'a,b\n"c"d,\n', "well-formed"),
        ("(FORMAT csv)", b'a,"b",c"\n', "columns"),
    ],
)
def test_the_loops_name_what_is_wrong_first(sql: str, block: bytes, why: str) -> None:
    from protocols.postgres import _rowloop

    lines = CopyText(shape(sql), [], Plan(()), None, masked=[], limit=1)._lines
    for loop in (lineloop, _rowloop):
        with pytest.raises(ValueError, match=why):
            loop.mask_lines(block, (None, b"-"), lines, False)
        with pytest.raises(ValueError, match=why):
            loop.gather_lines(block, b"\0\1", lines)


@pytest.mark.skipif(not COMPILED, reason="the row loops are not compiled here")
def test_the_compiled_loops_refuse_what_are_no_lines() -> None:
    from protocols.postgres import _rowloop

    good = {"marks": (9, -1, -1), "null": b"", "write": lambda value: "x", "read": lambda cell: "x"}
    for odd in ({"marks": [9, -1, -1]}, {"null": "x"}, {"marks": (9, -1)}, {}):
        lines = SimpleNamespace(**good | odd)
        for block in (b"a\\b\n", b"a\n"):
            with pytest.raises(TypeError):
                _rowloop.mask_lines(block, (lambda value: b"\t",), lines, False)
        with pytest.raises(TypeError):
            _rowloop.gather_lines(b"a\\b\n", b"\1", lines)


@pytest.mark.parametrize(
    ("sql", "raw"),
    [
        ("", b"a\tb\n"),
        ("", b"\n" * 2 + b"a\tb\n"),
        ("(DELIMITER '|')", b"a\\"),
        ("(DELIMITER '|')", b"a|b\n"),
        ("(FORMAT csv)", b'"a"b\n'),
        ("(FORMAT csv)", b'"a\n'),
        ("(FORMAT csv)", b'a"b"\n'),
        ("(FORMAT csv)", b"a,b\n"),
        ("(FORMAT binary)", b"PGCOPX"),
        ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\1\0\0\0\0\0\0"),
        ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\2"),
        ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\1\xff\xff\xff\xfe"),
        ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xffx"),
        ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
        ("(FORMAT binary)", b""),
    ],
)
def test_what_no_server_sends_is_its_fault(sql: str, raw: bytes) -> None:
    masker = CopyMasker(shape(sql), fields(1), Plan((REDACT,)))
    with pytest.raises(WireError) as caught:
        run(masker, [raw])
    assert caught.value.side is Side.UPSTREAM


@pytest.mark.parametrize("how", SHAPES)
def test_a_row_that_is_too_long_is_refused(how: CopyShape) -> None:
    masker = CopyMasker(how, fields(1), Plan((REDACT,)), limit=1000)
    with pytest.raises(LimitError) as caught:
        for payload in write(how, [[b"x"], [b"'\"" + b"x" * 2000 + b"'\""]]):
            for at in range(0, len(payload), 100):
                masker.feed(payload[at : at + 100])
    assert caught.value.code == "54000"


def test_no_columns_at_all() -> None:
    masker = CopyMasker(shape(""), [], Plan((), DETECT))
    assert run(masker, [b"\n", b"\n"]) == b"\n\n"
    assert run(CopyMasker(shape("(FORMAT binary)"), [], Plan((), DETECT)), [b""]) == b""


def test_numbers_keep_their_type() -> None:
    how = shape("")
    numeric = [Field("n", 0, 0, 1700, -1, -1, 0), Field("d", 0, 0, 1082, -1, -1, 0)]
    assert run(CopyMasker(how, numeric, Plan((REDACT, REDACT))), [b"4711\t2001-02-03\n"]) == (
        b"0\t1970-01-01\n"
    )


def test_what_can_not_be_masked_says_why() -> None:
    plain = shape("")
    assert unmaskable(plain) == ""
    assert unmaskable(shape("(ENCODING 'UTF8')")) == ""
    assert unmaskable(shape("(ENCODING 'latin1')")) == ""
    for bad in (
        shape("(ENCODING 'SJIS')"),
        shape("(ENCODING 'gb18030')"),
        replace(plain, direction="in"),
        replace(plain, via="file"),
        replace(plain, odd=("novelty",)),
        replace(plain, delimiter=""),
        replace(plain, format="csv", quote="", escape=""),
    ):
        assert unmaskable(bad)
        with pytest.raises(ValueError):
            CopyMasker(bad, fields(1), Plan((REDACT,)))
    with pytest.raises(ValueError):
        CopyMasker(plain, fields(1), Plan(()))


def test_a_null_string_in_another_encoding_is_not_known() -> None:
    """Its bytes would be others than the text's in UTF-8: every NULL would pass for a value."""
    assert unmaskable(shape("(NULL 'é', ENCODING 'latin1')"))
    assert unmaskable(shape("(FORMAT csv, NULL 'é', ENCODING 'euc_jp')"))
    for same in ("(NULL 'é')", "(NULL 'é', ENCODING 'UTF-8')", "(NULL 'e', ENCODING 'latin1')"):
        assert not unmaskable(shape(same))


def test_the_query_that_describes_a_copy() -> None:
    def query(sql: str) -> str:
        found = analyse(sql).statements[0].copy
        assert found is not None
        return columns_query(found).strip()

    assert query('COPY s."T t" TO STDOUT') == 'SELECT * FROM "s"."T t"'
    assert query('COPY t (a, "B ""b") TO STDOUT') == 'SELECT "a", "B ""b" FROM "t"'
    assert query("COPY (SELECT 1, ')') TO STDOUT") == "SELECT 1, ')'"


def test_fields_of_a_copy() -> None:
    binary = shape("(FORMAT binary)")
    assert [f.form for f in copied({}, binary, fields(2))] == [1, 1]
    assert [f.type_oid for f in unknown(3, binary)] == [0, 0, 0]
    masker = CopyMasker(binary, unknown(1, binary), Plan((REDACT,)))
    assert read(binary, run(masker, write(binary, [[b"secret"]]))) == [[None]]
