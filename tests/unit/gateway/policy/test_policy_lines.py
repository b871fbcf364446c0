"""Lines of places in TOML texts."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.lines import Lines, syntax_line

TEXT = '''\
# a comment with [brackets] and = signs
version = 1   # trailing "comment
"quoted key" = 'lite#ral'
a.b.c = 1
a.b.d = [
  "x",        # one ] here
  "y",

  ["z", """multi
line ]"""],
  { k = 5, l = { m = 6 } },
]

[sets]
one = ["p"]
two = """first
[not.a.header]
"""
three = \'\'\'
[[nor this]]
\'\'\'
four = 1979-05-27 07:32:00

[[rule]]
id = "r0"
where = { tables = ["public.users", "x"], has_where = false }

[[rule]]
id = "r1"
[rule.who]
kind = "ci"
[[rule.mask]]
columns = "*"
[[rule.mask]]
columns = "b"

[[rule]]
id = "r\\"2"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("version",), 2),
        (("quoted key",), 3),
        (("a",), 4),
        (("a", "b", "c"), 4),
        (("a", "b", "d"), 5),
        (("a", "b", "d", 0), 6),
        (("a", "b", "d", 1), 7),
        (("a", "b", "d", 2), 9),
        (("a", "b", "d", 2, 1), 9),
        (("a", "b", "d", 3, "l", "m"), 11),
        (("sets",), 14),
        (("sets", "two"), 16),
        (("sets", "three"), 19),
        (("sets", "four"), 22),
        (("rule",), 24),
        (("rule", 0), 24),
        (("rule", 0, "id"), 25),
        (("rule", 0, "where", "tables", 1), 26),
        (("rule", 0, "where", "absent"), 26),
        (("rule", 1), 28),
        (("rule", 1, "who", "kind"), 31),
        (("rule", 1, "mask", 0, "columns"), 33),
        (("rule", 1, "mask", 1), 34),
        (("rule", 1, "mask", 1, "columns"), 35),
        (("rule", 2, "id"), 38),
        (("rule", 9, "id"), 24),
        (("nowhere",), 1),
    ],
)
def test_line_of_each_place(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert Lines(TEXT).of(path) == line


@pytest.mark.parametrize(
    "text", ["", "a", "a =", "a = [1", "[[x", "a = {b = 1", 'a = "', "= 3", "[a]\nb = 1\n[", "]"]
)
def test_broken_text_never_raises(text: str) -> None:
    assert Lines(text).of(("a", 0)) >= 1


@given(st.text(alphabet="ab.=[]{}\"'#,\\ \n1", max_size=60))
def test_any_text_never_raises_and_finds_every_key_of_valid_toml(text: str) -> None:
    lines = Lines(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        assert not path or path in lines._at
        pairs = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        for key, inner in pairs:
            walk(inner, (*path, key))

    walk(document, ())


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = \n", 2), ("a = 1\n\nc = [1,", 3)])
def test_line_of_a_syntax_error(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert syntax_line(caught.value, text) == line
