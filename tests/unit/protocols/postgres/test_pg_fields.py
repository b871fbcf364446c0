"""RowDescription: read back exactly, and no lie gets through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.postgres.fields import Field, parse_row_description, with_forms
from protocols.wire import Side

field = st.builds(
    Field,
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from((0, 1)),
)


def payload(fields: list[Field]) -> bytes:
    parts = [struct.pack(">h", len(fields))]
    for f in fields:
        parts.append(f.name.encode("utf-8", "surrogateescape") + b"\0")
        parts.append(struct.pack(">IhIhih", *f[1:]))
    return b"".join(parts)


@given(st.lists(field, max_size=8))
def test_what_was_said_is_read(fields: list[Field]) -> None:
    assert parse_row_description(payload(fields)) == tuple(fields)


def test_sixteen_hundred_columns() -> None:
    fields = [Field(f"c{i}", 1, i + 1, 25, -1, -1, 0) for i in range(1600)]
    assert parse_row_description(bytes(memoryview(payload(fields)))) == tuple(fields)


def test_a_name_that_is_not_utf8_survives() -> None:
    raw = struct.pack(">h", 1) + b"caf\xe9\0" + struct.pack(">IhIhih", 1, 1, 25, -1, -1, 0)
    assert parse_row_description(raw)[0].name.encode("utf-8", "surrogateescape") == b"caf\xe9"


@given(st.lists(field, min_size=1, max_size=3), st.data())
def test_a_cut_or_longer_one_is_the_upstreams_fault(
    fields: list[Field], data: st.DataObject
) -> None:
    whole = payload(fields)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for lie in (whole[:cut], whole + b"x"):
        with pytest.raises(WireError) as caught:
            parse_row_description(lie)
        assert caught.value.side is Side.UPSTREAM


@pytest.mark.parametrize("form", [2, -1, 256])
def test_an_unknown_format_is_refused(form: int) -> None:
    raw = struct.pack(">h", 1) + b"a\0" + struct.pack(">IhIhih", 1, 1, 25, -1, -1, form)
    with pytest.raises(WireError):
        parse_row_description(raw)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(WireError):
        parse_row_description(b"\xff\xff")


@given(st.binary(max_size=80))
def test_only_wire_errors(raw: bytes) -> None:
    try:
        parse_row_description(raw)
    except WireError:
        pass


def test_forms_of_a_bind() -> None:
    fields = [Field(n, 0, 0, 25, -1, -1, 0) for n in "abc"]
    assert [f.form for f in with_forms(fields, ())] == [0, 0, 0]
    assert [f.form for f in with_forms(fields, (1,))] == [1, 1, 1]
    assert [f.form for f in with_forms(fields, (0, 1, 0))] == [0, 1, 0]
    assert with_forms((), (1,)) == ()
    for bad in ((0, 1), (2,), (0, 0, 0, 0)):
        with pytest.raises(ValueError):
            with_forms(fields, bad)
