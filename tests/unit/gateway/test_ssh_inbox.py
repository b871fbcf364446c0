"""The inbox does what ``bytes`` would, at any cut."""

from __future__ import annotations

import time
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ssh_inbox import Inbox


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 30)), max_size=30))
def test_it_is_bytes(steps: list[tuple[bytes, int]]) -> None:
    plain, inbox = b"", Inbox()
    for more, taken in steps:
        plain += more
        inbox += more
        assert len(inbox) == len(plain)
        assert inbox.find(b"\0", 0, 10) == plain.find(b"\0", 0, 10)
        assert inbox[:taken] == plain[:taken]
        assert inbox[taken // 2 : taken] == plain[taken // 2 : taken]
        assert isinstance(inbox[:taken], bytes)
        plain = plain[taken:]
        inbox = cast(Inbox, inbox[taken:])
    assert inbox[: len(plain)] == plain


@pytest.mark.parametrize("key", [slice(None, -4), slice(-4, None), slice(4, 2)])
def test_it_never_goes_back(key: slice) -> None:
    inbox = Inbox()
    inbox += b"0123456789"
    with pytest.raises(ValueError, match="shorter"):
        inbox[key]


def test_single_bytes_cost_linear_time() -> None:
    inbox = Inbox()
    start = time.perf_counter()
    for _ in range(300_000):
        inbox += b"x"
    inbox = cast(Inbox, inbox[200_000:])
    inbox += b"y"
    assert len(inbox) == 100_001
    assert time.perf_counter() - start < 3
