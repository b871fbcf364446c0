"""A masked value still is a value of its type, in both forms."""

from __future__ import annotations

import json
import struct
import time
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.masks import build
from protocols.contract import Mask
from protocols.postgres import arrays, scalars
from protocols.postgres.blanks import Blank, blank
from protocols.postgres.kinds import BUILTIN, Kind, Shape
from protocols.postgres.values import Change, _scalar, action, apply

REDACT = Mask("redact", lambda value: b"[redacted]")
NULL = Mask("null", lambda value: None)
LAST = Mask("keep-last", lambda value: b"****" + value[-4:])
DIGITS = Mask("fixed-format", lambda value: bytes(48 if c in b"0123456789" else c for c in value))
SHOW = Mask("show", lambda value: value)
MASKS = [REDACT, NULL, LAST, DIGITS]

OIDS = {name: oid for oid, (name, _) in BUILTIN.items()}


def test_text_takes_the_mask_as_it_is() -> None:
    for name in ("text", "varchar", "bpchar", "name", "xml", "unknown"):
        for form in (0, 1):
            assert apply(LAST, b"4111-2222", OIDS[name], form) == b"****2222"
            assert apply(NULL, b"x", OIDS[name], form) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("int2", b"0"),
        ("int4", b"0"),
        ("int8", b"0"),
        ("oid", b"0"),
        ("numeric", b"0"),
        ("float8", b"0"),
        ("bool", b"f"),
        ("date", b"1970-01-01"),
        ("timestamp", b"1970-01-01 00:00:00"),
        ("timestamptz", b"1970-01-01 00:00:00+00"),
        ("uuid", b"00000000-0000-0000-0000-000000000000"),
        ("bytea", b"\\x"),
        ("inet", b"0.0.0.0"),
        ("char", b""),
    ],
)
def test_what_cannot_hold_the_text_shows_its_neutral_value(name: str, text: bytes) -> None:
    assert apply(REDACT, b"12", OIDS[name], 0) == text
    packed = apply(REDACT, scalars.NEUTRAL[BUILTIN[OIDS[name]][1].kind][1], OIDS[name], 1)
    assert packed == scalars.NEUTRAL[BUILTIN[OIDS[name]][1].kind][1]


@given(
    st.binary(max_size=20) | st.integers().map(lambda n: b"%d" % n) | st.emails().map(str.encode),
    st.sampled_from(sorted(scalars.NEUTRAL)),
    st.sampled_from([build("keep-last", {"n": 1}), build("partial-email", {})]),
)
def test_masks_that_leave_stars_show_the_neutral_value_of_every_other_type(
    value: bytes, kind: Kind, change: Change
) -> None:
    """Which ``action`` takes for granted."""
    for form in (0, 1):
        assert _scalar(change, kind, form)(value) == scalars.NEUTRAL[kind][form]
        for name in ("keep-last", "partial-email"):
            assert action(Mask(name, change), Shape(kind), form) == scalars.NEUTRAL[kind][form]


def test_what_can_hold_it_does() -> None:
    assert apply(DIGITS, b"4711", OIDS["int4"], 0) == b"0000"
    assert apply(DIGITS, b"12.50", OIDS["numeric"], 0) == b"00.00"
    assert apply(LAST, b"2.5", OIDS["float8"], 0) == b"0"
    small = Mask("m", lambda value: b"7")
    assert apply(small, struct.pack(">i", 4711), OIDS["int4"], 1) == struct.pack(">i", 7)
    too_big = Mask("m", lambda value: b"70000")
    assert apply(too_big, struct.pack(">h", 4711), OIDS["int2"], 1) == bytes(2)


def test_types_that_are_not_understood_are_null() -> None:
    for oid in (OIDS["record"], OIDS["tsvector"], OIDS["point"], 0, 99_999, 2**32 - 1):
        for form in (0, 1):
            assert apply(REDACT, b"secret", oid, form) is None


def test_learnt_types() -> None:
    shapes = {70000: Shape(Kind.TEXT), 70001: Shape(Kind.TEXT, 70000), 70002: Shape(Kind.LABEL)}
    assert apply(REDACT, b"a", 70000, 1, shapes) == b"[redacted]"
    assert apply(LAST, b"{ab12345,NULL}", 70001, 0, shapes) == b"{****2345,NULL}"
    assert apply(REDACT, b"a", 70002, 0, shapes) == b"[redacted]"
    assert apply(REDACT, b"a", 70002, 1, shapes) is None


@given(st.binary())
def test_json_stays_json(value: bytes) -> None:
    for mask in (REDACT, LAST, SHOW):
        for name, form in (("json", 0), ("json", 1), ("jsonb", 0)):
            shown = apply(mask, value, OIDS[name], form)
            assert shown is not None
            json.loads(shown)
        shown = apply(mask, b"\1" + value, OIDS["jsonb"], 1)
        assert shown is not None
        assert shown[:1] == b"\1"
        json.loads(shown[1:])


@given(
    st.binary(max_size=30), st.sampled_from(sorted(BUILTIN)), st.sampled_from(MASKS), st.booleans()
)
def test_any_bytes_in_any_type(value: bytes, oid: int, mask: Mask, binary: bool) -> None:
    """Nothing raises, and what is shown is of the type."""
    shown = apply(mask, value, oid, int(binary))
    shape = BUILTIN[oid][1]
    if shown is None or shape.element or shape.kind in (Kind.TEXT, Kind.JSON, Kind.JSONB):
        return
    assert shape.kind is not Kind.OTHER
    neutral = scalars.NEUTRAL[shape.kind][binary]
    if binary:
        assert shape.kind is Kind.BYTEA or len(shown) == len(neutral) or shape.kind is Kind.NUMERIC
    else:
        assert shown == neutral or scalars.parses(shape.kind, shown)


@given(st.integers(-(2**63), 2**63 - 1))
def test_int8_there_and_back(number: int) -> None:
    raw = struct.pack(">q", number)
    text = scalars.decode(Kind.INT8, raw)
    assert text == str(number).encode()
    assert scalars.encode(Kind.INT8, text) == raw


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=7, min_value=-(10**30), max_value=10**30
    )
)
def test_numeric_there_and_back(number: Decimal) -> None:
    text = f"{number:f}".encode()
    raw = scalars.encode(Kind.NUMERIC, text)
    assert raw is not None
    back = scalars.decode(Kind.NUMERIC, raw)
    assert back is not None
    assert Decimal(back.decode()) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float8_there_and_back(number: float) -> None:
    text = scalars.decode(Kind.FLOAT8, struct.pack(">d", number))
    assert text is not None
    assert float(text) == number


@given(st.dates(min_value=date(1, 1, 1)), st.datetimes(), st.uuids(), st.binary())
def test_others_there_and_back(day: date, when: datetime, uuid: UUID, raw: bytes) -> None:
    for kind, text in (
        (Kind.DATE, day.isoformat().encode()),
        (Kind.UUID, str(uuid).encode()),
        (Kind.BYTEA, b"\\x" + raw.hex().encode()),
        (Kind.BOOL, b"t"),
    ):
        packed = scalars.encode(kind, text)
        assert packed is not None
        assert scalars.decode(kind, packed) == text
    stamp = when.isoformat(" ").encode()
    packed = scalars.encode(Kind.TIMESTAMP, stamp)
    assert packed is not None
    assert datetime.fromisoformat((scalars.decode(Kind.TIMESTAMP, packed) or b"").decode()) == when


def element(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@given(st.lists(st.none() | st.binary(max_size=8), min_size=1, max_size=6))
def test_text_arrays_element_by_element(values: list[bytes | None]) -> None:
    seen: list[bytes] = []

    def see(value: bytes) -> bytes:
        seen.append(value)
        return value

    text = b"{" + b",".join(b"NULL" if v is None else element(v) for v in values) + b"}"
    shown = arrays.change_text(text, see)
    assert seen == [v for v in values if v is not None]
    assert shown is not None
    seen.clear()
    assert arrays.change_text(shown, see) == shown
    assert seen == [v for v in values if v is not None]


def test_array_shapes() -> None:
    def mark(value: bytes) -> bytes | None:
        return None if value == b"gone" else b"<" + value + b">"

    for text, want in (
        (b"{}", b"{}"),
        (b"{a,NULL,gone}", b"{<a>,NULL,NULL}"),
        (b'{{a,"b c"},{"NULL",""}}', b'{{<a>,"<b c>"},{<NULL>,<>}}'),
        (b"[0:1]={a,b}", b"[0:1]={<a>,<b>}"),
        (b'{"a\\"b"}', b'{"<a\\"b>"}'),
    ):
        assert arrays.change_text(text, mark) == want
    for broken in (
        b"",
        b"a",
        b"{",
        b"{a",
        b"}",
        b"{a}}",
        b"{a}b",
        b'{"a}',
        b"{a,,b}",
        b"{a,}",
        b"{a{b}}",
    ):
        assert arrays.change_text(broken, mark) is None


@given(st.lists(st.none() | st.binary(max_size=8), max_size=6))
def test_binary_arrays_element_by_element(values: list[bytes | None]) -> None:
    def pack(values: list[bytes | None], oid: int = 25) -> bytes:
        head = struct.pack(">iiIii", 1, None in values, oid, len(values), 1)
        return head + b"".join(
            b"\xff\xff\xff\xff" if v is None else struct.pack(">i", len(v)) + v for v in values
        )

    shown = apply(Mask("m", lambda v: v + v), pack(values), OIDS["_text"], 1)
    assert shown == pack([v if v is None else v + v for v in values])
    assert apply(SHOW, pack(values, 23), OIDS["_text"], 1) is None
    assert apply(SHOW, pack(values)[:-1], OIDS["_text"], 1) is None
    assert apply(SHOW, pack(values) + b"x", OIDS["_text"], 1) is None


def test_an_array_of_very_many_is_null() -> None:
    """However many an array has, everybody else waits for a moment only."""
    most = arrays.MOST
    seen: list[bytes] = []

    def see(value: bytes) -> bytes:
        seen.append(value)
        return value

    for count in (most, most + 1, 8 * most):
        head = struct.pack(">iiIii", 1, 0, 25, count, 1)
        shown = apply(Mask("m", see), head + bytes(4 * count), OIDS["_text"], 1)
        assert shown == (head + bytes(4 * count) if count == most else None)
        text = b"{" + b",".join([b"a"] * count) + b"}"
        assert apply(Mask("m", see), text, OIDS["_text"], 0) == (text if count == most else None)
        assert len(seen) <= 5 * most


def test_a_mask_that_calls_itself_constant_cannot_show_the_value() -> None:
    sly = Mask("redact", lambda value: value if value.startswith(b"s") else b"-")
    assert action(sly, Shape(Kind.TEXT), 0) == b"-"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.data(),
    st.booleans(),
)
def test_a_blank_in_json_leaves_json(tree: object, data: st.DataObject, ascii_: bool) -> None:
    text = json.dumps(tree, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    ends = sorted(
        data.draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=4))
        if len(text) > 3
        else {0, len(text)}
    )
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    shown = blank(Blank.JSON, text, spans)
    assert len(shown) == len(text)
    json.loads(shown)
    for start, end in spans:
        assert not set(shown[start:end]) & set(b"23456789") - set(b"fe")


def test_blanks_keep_length_and_syntax() -> None:
    assert blank(Blank.STAR, "naïve".encode(), [(3, 4)]) == b"na**ve"
    assert blank(Blank.STRUCTURE, b'(a,"b c",4)', [(1, 10)]) == b'(*,"***",*)'
    assert blank(Blank.DIGITS, b"-4111.50", [(1, 8)]) == b"-0000.00"
    assert blank(Blank.HEX, b"\\xdeadbeef", [(0, 10)]) == b"\\x00000000"
    assert (
        blank(Blank.JSON, b'{"n": 4111, "s": "a\\nb"}', [(2, 10), (19, 21)])
        == b'{"*": 1111, "s": "a**b"}'
    )


def test_blanks_take_time_that_grows_with_the_value_only() -> None:
    """Values made to be slow: half a megabyte, tens of thousands of hits."""
    spans = [(at, at + 4) for at in range(1, 500_000, 20)]
    for value in (b'"' + b"\\n" * 250_000 + b'"', b"\x80" * 500_001, b'""' * 250_001):
        began = time.perf_counter()
        for how in (Blank.JSON, Blank.STAR, Blank.STRUCTURE):
            assert len(blank(how, value, spans)) == len(value)
        assert time.perf_counter() - began < 5
