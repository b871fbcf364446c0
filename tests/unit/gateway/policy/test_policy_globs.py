"""Patterns: agreement with a reference, and the two readings of names."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.policy.globs import MEMO, compile_globs, covers, overlap, remembering
from gateway.policy.names import covers_wide, narrow, wide

PATTERN = st.text(alphabet="ab.*", min_size=1, max_size=8).filter(lambda p: "**" not in p)
NAME = st.text(alphabet="ab.", max_size=8)


def reference(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name, re.DOTALL) is not None


@given(st.lists(PATTERN, max_size=5), NAME)
def test_any_of_the_patterns(patterns: list[str], name: str) -> None:
    assert compile_globs(patterns)(name) == any(reference(p, name) for p in patterns)


@given(PATTERN, PATTERN, NAME)
def test_what_covers_matches_all_that_is_covered(broad: str, thin: str, name: str) -> None:
    if covers(broad, thin) and reference(thin, name):
        assert reference(broad, name)


@example("*.ab", "a.*", ["ab"])
@example("a.b", "*a.*b*", ["", "", ""])
@given(PATTERN, st.text(alphabet="ab.*", max_size=6), st.lists(st.text("ab", max_size=3)))
def test_a_name_with_stars_overlaps_where_some_filling_matches(
    pattern: str, name: str, fillings: list[str]
) -> None:
    filled = name
    for text in (*fillings, "", "", "", "", "", ""):
        filled = filled.replace("*", text, 1)
    if reference(pattern, filled):
        assert overlap(pattern, name)


def test_names_that_no_filling_brings_together_do_not_overlap() -> None:
    for pattern, name in (("a.b", "c.*"), ("*.a.b", "c.*"), ("a", "*.b"), ("x*", "a*")):
        assert not overlap(pattern, name)


@given(st.lists(PATTERN, min_size=1, max_size=3), NAME.filter(bool))
def test_what_permits_restricts_too(patterns: list[str], name: str) -> None:
    if narrow(patterns, relation=True)(name):
        stripped = name.removeprefix("public.")
        assert wide(patterns)(name) or wide(patterns)(stripped)


@given(PATTERN, PATTERN, NAME)
def test_covering_wide_holds_in_the_wide_reading(broad: str, thin: str, name: str) -> None:
    if covers_wide(broad, thin) and wide((thin,))(name):
        assert wide((broad,))(name)


def test_remembered_answers_are_few_and_right() -> None:
    asked = []

    def test(name: str) -> bool:
        asked.append(name)
        return name.endswith("1")

    memo = remembering(test)
    for n in range(3 * MEMO):
        assert memo(str(n)) is str(n).endswith("1")
        assert memo(str(n)) is str(n).endswith("1")
    assert len(asked) == 3 * MEMO
    assert len(memo.__self__) <= MEMO  # type: ignore[attr-defined]
    memo("1" * 1000)
    memo("1" * 1000)
    assert len(asked) == 3 * MEMO + 2


def test_a_schema_pattern_covers_no_bare_name() -> None:
    assert covers_wide("public.*", "public.users")
    assert covers_wide("hr.*", "hr.*")
    assert not covers_wide("hr.*", "hr.users")
    assert wide(("hr.users",))("users")
    assert not wide(("hr.*",))("users")
