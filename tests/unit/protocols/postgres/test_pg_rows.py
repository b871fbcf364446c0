"""Rows: masked where the plan says so, untouched elsewhere, and the compiled
loops give what the Python ones give."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.policy.masks import build
from protocols.contract import Mask, Plan, Screen
from protocols.errors import WireError
from protocols.postgres import rowloop, rows, scalars
from protocols.postgres.fields import Field
from protocols.postgres.kinds import Kind
from protocols.postgres.rows import RowMasker
from protocols.wire import Side

Row = list[bytes | None]

REDACT = Mask("redact", lambda value: b"[redacted]")
NULL = Mask("null", lambda value: None)
REVERSE = Mask("hash", lambda value: b"<" + value[::-1] + b">")
NUMBER = re.compile(rb"\d{4}-\d{4}")
DETECT = Screen(lambda data: [m.span() for m in NUMBER.finditer(data)], 9)

LOOPS: list[Any] = [rowloop]
if rows.COMPILED:
    from protocols.postgres import _rowloop

    LOOPS.append(_rowloop)


@pytest.fixture(params=LOOPS, ids=lambda loop: loop.__name__.rpartition(".")[2])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(rows, "mask_rows", request.param.mask_rows)
    monkeypatch.setattr(rows, "gather", request.param.gather)
    return request.param


def fields(*types: int, form: int = 0) -> list[Field]:
    return [Field(f"c{i}", 0, 0, oid, -1, -1, form) for i, oid in enumerate(types)]


def frame(row: Row) -> bytes:
    body = struct.pack(">H", len(row)) + b"".join(
        b"\xff\xff\xff\xff" if v is None else struct.pack(">i", len(v)) + v for v in row
    )
    return b"D" + struct.pack(">i", len(body) + 4) + body


def frames(table: list[Row]) -> bytes:
    return b"".join(map(frame, table))


def read(raw: bytes) -> list[Row]:
    """An independent reader of DataRow frames, for checking."""
    table: list[Row] = []
    at = 0
    while at < len(raw):
        kind, length, count = struct.unpack_from(">ciH", raw, at)
        assert kind == b"D"
        end, at = at + 1 + length, at + 7
        row: Row = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", raw, at)
            at += 4
            row.append(None if size < 0 else raw[at : at + size])
            at += max(size, 0)
        assert at == end
        table.append(row)
    return table


value = st.none() | st.binary(max_size=12) | st.sampled_from([b"", b"1234-5678", b"a 1234-5678\n"])


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    width = draw(st.integers(0, 5))
    return draw(st.lists(st.lists(value, min_size=width, max_size=width), max_size=6))


masks = st.sampled_from([None, REDACT, NULL, REVERSE])


@given(tables(), st.data())
def test_the_plan_is_what_happens(table: list[Row], data: st.DataObject) -> None:
    width = len(table[0]) if table else 0
    plan = data.draw(st.lists(masks, min_size=width, max_size=width))
    masker = RowMasker(fields(*[25] * width), Plan(tuple(plan)))
    shown = read(masker.rows(frames(table)))
    want = [
        [v if v is None or m is None else m.apply(v) for v, m in zip(row, plan, strict=True)]
        for row in table
    ]
    assert shown == want
    assert masker.masked == [
        0 if m is None else sum(row[i] is not None for row in table) for i, m in enumerate(plan)
    ]


@given(tables())
def test_no_mask_is_the_identity(table: list[Row]) -> None:
    width = len(table[0]) if table else 0
    raw = frames(table)
    masker = RowMasker(fields(*[25] * width), Plan((None,) * width))
    assert masker.idle
    assert masker.rows(raw) == raw
    seeing = RowMasker(fields(*[25] * width), Plan((None,) * width, Screen(lambda data: [], 1)))
    assert seeing.rows(raw) == raw


@given(tables())
def test_a_screen_blanks_every_hit_and_nothing_else(table: list[Row]) -> None:
    width = len(table[0]) if table else 0
    masker = RowMasker(fields(*[25] * width), Plan((None,) * width, DETECT))
    shown = read(masker.rows(frames(table)))
    for row, seen in zip(table, shown, strict=True):
        for before, after in zip(row, seen, strict=True):
            if before is None:
                assert after is None
            else:
                assert after == NUMBER.sub(b"*********", before)


def test_a_hit_over_several_values_is_hidden_in_each(loop: Any) -> None:
    greedy = Screen(
        lambda data: [(m.start(), m.end()) for m in re.finditer(rb"4\d*\x005\d*", data)], 99
    )
    masker = RowMasker(fields(25, 25), Plan((None, None), greedy))
    assert read(masker.rows(frames([[b"x 41", b"52 y"]]))) == [[b"x **", b"** y"]]
    assert masker.masked == [1, 1]


def test_a_hit_among_many_values_costs_no_list_of_them() -> None:
    """An array of millions, as any client can ask for, must not take many times its size."""
    count = 300_000
    text = struct.pack(">iiIiii", 1, 0, 25, count, 1, 9) + b"1234-5678" + bytes(4 * (count - 1))
    raw, masker = frame([text]), RowMasker(fields(1009, form=1), Plan((None,), DETECT))
    tracemalloc.start()
    try:
        shown = masker.rows(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown == raw.replace(b"1234-5678", b"*********")
    assert peak < 60 * count


@given(tables())
def test_many_values_are_searched_as_few_are(table: list[Row]) -> None:
    width = len(table[0]) if table else 0
    shown = []
    for few in (rows._FEW, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "_FEW", few)
            masker = RowMasker(fields(*[25] * width), Plan((None,) * width, DETECT))
            shown.append((masker.rows(frames(table)), masker.masked))
    assert shown[0] == shown[1]


def test_arrays_of_numbers_in_text_stay_numbers(loop: Any) -> None:
    cards = Screen(lambda data: [m.span() for m in re.finditer(rb"4111\d{12}", data)], 16)
    table: list[Row] = [
        [b"{4111111111111111,NULL,-7}", b"{4111111111111111.50,NaN}", rb'{"\\x4111111111111111ff"}']
    ]
    masker = RowMasker(fields(1016, 1231, 1001), Plan((None,) * 3, cards))
    assert read(masker.rows(frames(table))) == [
        [b"{0000000000000000,NULL,-7}", b"{0000000000000000.50,NaN}", rb'{"\\x0000000000000000ff"}']
    ]
    assert masker.masked == [1, 1, 1]


def test_overlapping_hits_all_count(loop: Any) -> None:
    """A screen that breaks its promise (sorted, apart) must not unmask."""
    spans = [(0, 4), (3, 8), (1, 2)]
    masker = RowMasker(fields(25, 25), Plan((None, None), Screen(lambda data: spans, 9)))
    assert read(masker.rows(frame([b"abcd", b"efghij"]))) == [[b"****", b"***hij"]]


def test_binary_forms_are_looked_into(loop: Any) -> None:
    texts = struct.pack(">iiI", 1, 1, 25) + struct.pack(">ii", 3, 1)
    texts += struct.pack(">i", 9) + b"1234-5678" + b"\xff\xff\xff\xff" + struct.pack(">i", 1) + b"x"
    jsonb = b'\x01{"a": "1234-5678", "b": 7}'
    card = struct.pack(">q", 4111111111111111)
    seen = Screen(
        lambda data: [m.span() for m in re.finditer(rb"\d{4}-\d{4}|\b4111\d{12}\b", data)], 16
    )
    plan = Plan((None,) * 4, seen)
    masker = RowMasker(fields(1009, 3802, 20, 20, form=1), plan)
    table: list[Row] = [[texts, jsonb, card, struct.pack(">q", -41)]]
    assert read(masker.rows(frames(table))) == [
        [
            texts.replace(b"1234-5678", b"*********"),
            b'\x01{"a": "*********", "b": 7}',
            bytes(8),
            struct.pack(">q", -41),
        ]
    ]
    assert masker.masked == [1, 1, 1, 0]


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40, places=4
    )
)
def test_a_binary_numeric_is_seen_as_its_digits(number: Decimal) -> None:
    seen: list[bytes] = []

    def spans(data: bytes) -> list[tuple[int, int]]:
        seen.append(data)
        return [(0, len(data))] if data else []

    raw = scalars.encode(Kind.NUMERIC, f"{number:f}".encode())
    assert raw is not None
    masker = RowMasker(fields(1700, form=1), Plan((None,), Screen(spans, 99)))
    ((shown,),) = read(masker.rows(frame([raw])))
    assert Decimal(seen[0].decode().strip("\0") or "0") == number.copy_abs()
    assert shown is not None
    assert Decimal((scalars.decode(Kind.NUMERIC, shown) or b"x").decode()) == 0


def test_zero_and_sixteen_hundred_columns(loop: Any) -> None:
    assert RowMasker([], Plan(())).rows(frame([])) == frame([])
    row: Row = [b"%d" % i for i in range(1600)]
    plan = Plan(tuple(REDACT if i % 2 else None for i in range(1600)))
    shown = read(RowMasker(fields(*[25] * 1600), plan).rows(frame(row)))
    assert shown == [[b"[redacted]" if i % 2 else v for i, v in enumerate(row)]]


def test_a_huge_value(loop: Any) -> None:
    row: Row = [b"x" * (8 << 20), b"secret", b"y" * (1 << 20)]
    shown = RowMasker(fields(25, 25, 25), Plan((None, REVERSE, NULL))).rows(frame(row))
    assert read(shown) == [[row[0], b"<terces>", None]]


def test_a_plan_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError):
        RowMasker(fields(25), Plan(()))


@given(tables(), st.data())
def test_broken_rows_are_the_upstreams_fault(table: list[Row], data: st.DataObject) -> None:
    # An idle masker looks at nothing: give it something to do.
    table = table if table and table[0] else [[b"a", None]]
    raw = bytearray(frames(table))
    width = len(table[0])
    if data.draw(st.booleans()) and raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    plan = data.draw(st.sampled_from([Plan((REDACT,) * width), Plan((None,) * width, DETECT)]))
    side: Side | None = Side.UPSTREAM
    shown = b""
    try:
        shown = RowMasker(fields(*[25] * width), plan).rows(bytes(raw))
    except WireError as error:
        side = error.side
    assert side is Side.UPSTREAM
    if shown:
        assert len(read(shown)) == len(read(bytes(raw)))


MASKS = [
    build("keep-last", {"n": 1}),
    build("partial-email", {}),
    build("fixed-format", {}),
    build("hash", {}, bytes(16)),
    build("null", {}),
]
actions = st.sampled_from(
    [None, b"", b"constant", ..., lambda v: v[::-1] * 2, lambda v: None, *MASKS]
)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except ValueError as error:
        return ("error", str(error))


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, bytes]:
    """A run of rows, often broken in one place."""
    width = draw(st.integers(0, 4))
    array = st.sampled_from(
        [
            struct.pack(">iiIii", 1, 0, 25, 2, 1) + b"\0\0\0\1a\xff\xff\xff\xff",
            struct.pack(">iiI", 0, 0, 25),
            struct.pack(">iiIiiiiii", 3, 0, 25, -1, 1, -1, 1, 0, 1),
            struct.pack(">iiIiiii", 2, 0, 25, -1, 1, -1, 1),
        ]
    )
    group = st.integers(0, 10_001).map(lambda n: n % 10_000 if n < 10_001 else n)
    numeric = st.builds(
        lambda weight, groups: struct.pack(
            f">HhHH{len(groups)}H", len(groups), weight, 0, 9, *groups
        ),
        st.integers(-20, 20),
        st.lists(group, max_size=5),
    )
    cell = value | array | numeric | st.binary(min_size=8, max_size=8)
    table = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=4))
    raw = bytearray(frames(table))
    for _ in range(draw(st.integers(0, 2)) if raw else 0):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        raw = raw[: draw(st.integers(0, len(raw)))]
    return width, bytes(raw)


@pytest.mark.skipif(not rows.COMPILED, reason="the row loops are not compiled here")
@settings(max_examples=400)
@example((2, b"D\x7f\xff\xff\xff\0\2"), [None, ...], b"\1\1", 0)
@example((1, b"D\0\0\0\x0a\0\1\x7f\xff\xff\xff"), [b""], b"\1", 0)
@given(
    runs(),
    st.lists(actions, max_size=4),
    st.lists(st.integers(0, 5), max_size=4).map(bytes),
    st.integers(0, 9),
)
def test_the_compiled_loops_are_the_same(
    run: tuple[int, bytes], acts: list[Any], looks: bytes, at: int
) -> None:
    width, raw = run
    acts = (acts + [None] * width)[:width]
    looks = (looks + bytes(width))[:width]
    for name, *args in (
        ("mask_rows", raw, tuple(acts)),
        ("gather", raw, looks),
        ("run_end", raw, at, 0x44, 6),
    ):
        assert outcome(getattr(_rowloop, name), *args) == outcome(getattr(rowloop, name), *args)


def _cut(row: bytes, by: int) -> bytes:
    """The frame ``row``, its length less by ``by``, with all of its bytes."""
    return row[:1] + struct.pack(">i", struct.unpack(">i", row[1:5])[0] - by) + row[5:]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"D\0\0\0\x05\0\1", "length is wrong"),
        (b"D\0\0\0\x08\0\1\0\0" + frame([b"a"]), "ends within its columns"),
        (_cut(frame([b"abcd"]), 1) + frame([b"a"]), "column's length is wrong"),
        (frame([b"a", b"b"])[:5] + b"\0\1" + frame([b"a", b"b"])[7:], "goes on after"),
        (frame([b"a"]) + b"Z" + frame([b"a"])[1:], "not a whole"),
        (frame([b"a"]) + b"D", "not a whole"),
    ],
)
@pytest.mark.parametrize("first", [b"", frame([None]) + frame([b"x"])])
def test_rows_that_lie_are_told_alike(loop: Any, raw: bytes, why: str, first: bytes) -> None:
    for call in (
        lambda: loop.mask_rows(first + raw, (b"-",)),
        lambda: loop.mask_rows(first + raw, (None,)),
        lambda: loop.gather(first + raw, b"\1"),
    ):
        with pytest.raises(ValueError, match=why):
            call()


def _array(*dims: int, body: bytes = b"", count: int | None = None) -> bytes:
    sizes = b"".join(struct.pack(">Ii", size, 1) for size in dims)
    return struct.pack(">IiI", len(dims) if count is None else count, 0, 25) + sizes + body


ONE = b"\0\0\0\1a"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        _array()[:11],
        _array(1, body=ONE)[:-1],
        _array(count=1),
        _array(1, 1, 1, 1, 1, 1, 1, body=ONE),
        _array(0, 0, 0, 0, 0, 0, 0),
        _array(0x80000000, 0x80000000, 4),
        _array(0xFFFFFFFF),
        _array(2, body=ONE),
        _array(2, body=ONE + b"\0\0\0"),
        _array(1, body=b"\0\0\0\2a"),
        _array(1, body=b"\x7f\xff\xff\xffa"),
        _array(1, body=b"\xff\xff\xff\xfea"),
        _array(1, body=ONE + b"b"),
        _array(1, body=b"\xff\xff\xff\xff" + b"b"),
        _array() + b"b",
    ],
)
def test_binary_arrays_that_lie_are_told_alike(loop: Any, value: bytes) -> None:
    after = frame([b"\0" * 64])
    for raw in (frame([value]), frame([value]) + after):
        with pytest.raises(ValueError, match="array is malformed"):
            loop.gather(raw, b"\3")


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (b"", None),
        (bytes(7), None),
        (bytes(8), b""),
        (struct.pack(">HhHHH", 2, 0, 0, 0, 1), None),
        (struct.pack(">HhHHHH", 1, 0, 0, 0, 1, 1), None),
        (struct.pack(">HhHHH", 1, 0, 0, 0, 9999), b"9999"),
        (struct.pack(">HhHHH", 1, 0, 0, 0, 10_000), None),
        (struct.pack(">HhHHH", 1, 0, 0, 0, 0), b""),
        (struct.pack(">HhHHH", 1, 15, 0, 0, 7), b"7" + b"0" * 60),
        (struct.pack(">HhHHH", 1, 16, 0, 0, 7), b""),
        (struct.pack(">HhHHH", 1, -16, 0, 0, 7), b"7"),
        (struct.pack(">HhHHH", 1, -17, 0, 0, 7), b""),
        (struct.pack(">HhHH", 0, 3, 0, 0), b""),
        (struct.pack(">HhHHHH", 2, 0, 0, 4, 0, 7), b".0007"),
    ],
)
def test_binary_numerics_are_told_alike(loop: Any, value: bytes, digits: bytes | None) -> None:
    raw = frame([value]) + frame([None])
    if digits is None:
        with pytest.raises(ValueError, match="numeric is malformed"):
            loop.gather(raw, b"\5")
    else:
        joined, index = loop.gather(raw, b"\5")
        assert joined == (digits + b"\0" if digits else b"")
        assert len(index) == (12 if digits else 0)


def test_an_empty_jsonb_is_looked_into(loop: Any) -> None:
    """It has no version byte, which no server sends."""
    joined, _ = loop.gather(frame([b"", b"\1{}"]), b"\2\2")
    assert joined == b"\0{}\0"


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_binary_int8_has_eight_bytes(loop: Any, size: int) -> None:
    with pytest.raises(ValueError, match="int8 is malformed"):
        loop.gather(frame([bytes(size)]), b"\4")


@pytest.mark.parametrize("value", [b"", b"a", b"@", b"ab@", b"ab@c", b"ab", b"\xc3", b"ab@\xc3"])
def test_a_mask_sees_nothing_of_what_comes_after_its_value(loop: Any, value: bytes) -> None:
    """The next byte is a letter: the type of the row that follows."""
    for mask in MASKS:
        shown = loop.mask_rows(frame([value]) + frame([None]), (mask,))
        assert shown == (frame([mask(value)]) + frame([None]), (1,))


def test_a_run_ends_with_its_last_whole_frame(loop: Any) -> None:
    run = frame([b"a"]) + frame([None])
    assert loop.run_end(run + b"Z\0\0\0\5I", 0, 0x44, 6) == len(run)
    assert loop.run_end(run[:-1], 0, 0x44, 6) == len(frame([b"a"]))
    assert loop.run_end(run + b"D\0\0\0\5I", 0, 0x44, 6) == len(run)
    assert loop.run_end(run + b"D\0\0\0\5I", 0, 0x44, 5) == len(run) + 6
    assert loop.run_end(run + b"D\xff\xff\xff\xff", 0, 0x44, 5) == len(run)
    assert loop.run_end(run, len(run), 0x44, 6) == len(run)
    assert loop.run_end(run, 99, 0x44, 6) == 99
    for outside in (-1, -99):
        with pytest.raises(ValueError):
            loop.run_end(run, outside, 0x44, 6)


@pytest.mark.skipif(not rows.COMPILED, reason="the row loops are not compiled here")
def test_the_compiled_loops_refuse_what_is_no_mask() -> None:
    with pytest.raises(TypeError):
        _rowloop.mask_rows(frame([b"a"]), (lambda v: "text",))  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        _rowloop.mask_rows(frame([b"a"]), (lambda v: 1 // 0,))  # type: ignore[arg-type, return-value]
