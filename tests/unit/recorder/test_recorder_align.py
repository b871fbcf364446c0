"""What was said then beside what is said now: the fewest differences, in bounded time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.replay.align import MOST, Operation, operations

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


def held(a: list[str], b: list[str], found: list[Operation]) -> int:
    """How many are alike; the operations are whole and in order."""
    x = y = alike = 0
    for kind, i, j, k, n in found:
        assert (i, k) == (x, y)
        x, y = j, n
        assert (kind == "delete") == (k == n)
        assert (kind == "insert") == (i == j)
        if kind == "equal":
            assert a[i:j] == b[k:n]
            alike += j - i
    assert (x, y) == (len(a), len(b))
    return alike


def longest(a: list[str], b: list[str]) -> int:
    """The length of the longest common subsequence, by the table of the textbook."""
    row = [0] * (len(b) + 1)
    for one in a:
        new = [0]
        for n, other in enumerate(b):
            new.append(row[n] + 1 if one == other else max(new[-1], row[n + 1]))
        row = new
    return row[-1]


@given(WORDS, WORDS)
def test_no_alignment_has_more_that_is_alike(a: list[str], b: list[str]) -> None:
    assert held(a, b, operations(a, b)) == longest(a, b)


def test_many_that_are_alike_take_no_square() -> None:
    # difflib's matcher takes hours for these.
    a = ["select 1"] * 60_000
    b = [*a[:20_000], "select 2", *a[20_000:-1], "select 3"]
    assert held(a, b, operations(a, b)) == len(a) - 1


def test_what_differs_too_much_is_aligned_as_far_as_it_goes() -> None:
    a = [f"a{n}" if n % 2 else "same" for n in range(MOST + 200)]
    b = [f"b{n}" if n % 2 else "same" for n in range(MOST + 200)]
    alike = held(a, b, operations(a, b))
    assert MOST // 4 < alike < len(a) // 2
