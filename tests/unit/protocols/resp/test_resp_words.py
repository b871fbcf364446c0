"""Commands as text and as parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.contract import EffectKind
from protocols.resp import KIND
from protocols.resp.text import SHOWN, read, shown
from protocols.resp.verbs import part

WORDS = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


@given(WORDS)
def test_a_line_gives_its_words_back(words: list[bytes]) -> None:
    assert read(shown(words)) == words
    assert shown(words).isascii()


@given(WORDS, WORDS)
def test_two_commands_never_share_a_line(one: list[bytes], two: list[bytes]) -> None:
    assert (shown(one) == shown(two)) is (one == two)


def test_a_long_word_is_a_digest_that_no_short_word_can_be() -> None:
    line = shown([b"SET", b"k", b"x" * (SHOWN + 1)])
    assert line.startswith("SET k <1025:")
    assert len(line) < 100
    assert shown([b"x" * (SHOWN + 1)]) != shown([b"y" * (SHOWN + 1)])
    forged = line.split()[2].encode()
    assert shown([b"SET", b"k", forged]) != line


@pytest.mark.parametrize(
    ("line", "action", "keys"),
    [
        ("get a", "resp.read", ("a",)),
        ("MGET a b", "resp.read", ("a", "b")),
        ("MSET a 1 b 2", "resp.write", ("a", "b")),
        ("BLPOP a b 0", "resp.write", ("a", "b")),
        ("RENAME a b", "resp.write", ("a", "b")),
        ("BITOP AND to a b", "resp.write", ("to", "a", "b")),
        ("DEL a", "resp.destroy", ("a",)),
        ("FLUSHALL ASYNC", "resp.destroy", ()),
        ("CONFIG GET *", "resp.admin", ()),
        ("SHUTDOWN", "resp.admin", ()),
        ("CLIENT SETNAME x", "resp.connection", ()),
        ("CLIENT KILL x", "resp.admin", ()),
        ("OBJECT ENCODING k", "resp.read", ("k",)),
        ("PUBLISH c text", "resp.publish", ("c",)),
    ],
)
def test_parts(line: str, action: str, keys: tuple[str, ...]) -> None:
    (only,) = KIND.parts(line)
    assert (only.action, only.facts["keys"], only.complete) == (action, keys, True)


@pytest.mark.parametrize(
    "line", ["EVAL return 0", "FCALL f 1 k", "XREAD STREAMS s 0", "SORT k STORE d", "NEWVERB k"]
)
def test_what_is_not_known_is_incomplete(line: str) -> None:
    (only,) = KIND.parts(line)
    assert not only.complete
    assert only.facts["keys"] is None
    assert only.why_incomplete


def test_strange_words() -> None:
    assert part([b"\xff"]).action == "resp.unparsed"
    assert part([b""]).action == "resp.unparsed"
    assert part([b"CONFIG", b"\r\n"]).action == "resp.unparsed"
    assert not part([b"GET", b"\xff"]).complete
    assert part([b"FLUSHALL"]).effects[0].kind is EffectKind.DESTROY
    assert KIND.parts('GET "unfinished')[0].action == "resp.unparsed"
    assert {part([b"GET", b"k"]).action} <= KIND.actions


def test_every_action_is_in_the_table() -> None:
    from protocols.resp import verbs

    for verb in verbs._VERBS:
        assert part([verb.encode(), b"a", b"b"]).action in KIND.actions
