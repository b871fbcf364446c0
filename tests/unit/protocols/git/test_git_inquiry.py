"""The inquiry and the tips against an upstream that says anything, in any cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from protocols.contract import Done, Examine, Question, Refuse
from protocols.git.inquiry import Inquiry
from protocols.git.pktline import FLUSH, pkt
from protocols.git.plain import from_plain, to_plain
from protocols.git.survey import (
    CommitSeen,
    PathChange,
    RefUpdate,
    SecretSeen,
    Survey,
    UpdateSeen,
)
from protocols.git.tips import Tips
from protocols.wire import Move, Side

OLD, NEW, ZERO = "1" * 40, "2" * 40, "0" * 40
MOVE = RefUpdate(OLD, NEW, "refs/heads/main")
GREETING = (
    b"".join(
        map(
            pkt,
            (
                b"version 2\n",
                b"agent=git/2\n",
                b"ls-refs=unborn\n",
                b"fetch=shallow filter\n",
                b"object-format=sha1\n",
            ),
        )
    )
    + FLUSH
)
REFS = pkt(b"%b refs/heads/main\n" % OLD.encode()) + FLUSH
EMPTY = bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e")
PACK = pkt(b"packfile\n") + pkt(b"\2hello\n") + pkt(b"\1" + EMPTY) + FLUSH
FETCH = ["why", [OLD], [NEW], "tree:0", 0]
SEEN = Survey(
    (
        UpdateSeen(
            MOVE,
            True,
            (CommitSeen(NEW, "a <a@b>", "c <c@d>", -3, "s\udcff"),),
            1,
            (CommitSeen(OLD, "", "", 0, ""),),
            None,
            (PathChange("p\udcfe", "M", "100644", 1, None, 5, True),),
            False,
            "why",
        ),
    ),
    "",
    3,
    1,
    ("a",),
    ("c",),
    (SecretSeen("aws-key", "p", OLD),),
    9,
    ("l",),
    ("m",),
    "missed",
)


class Memory:
    size = 0

    def __init__(self) -> None:
        self.data = b""
        self.closed = 0

    def write(self, data: bytes) -> None:
        self.data += data
        self.size = len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.closed += 1


class Scene:
    """An inquiry whose examinations are answered from a list."""

    def __init__(self, answers: Sequence[object], updates: Sequence[RefUpdate] = (MOVE,)) -> None:
        self.spools: list[Memory] = []
        numbers = itertools.count(7)
        self.talk = Inquiry(
            tuple(updates),
            pack=None,
            algorithm="sha1",
            spool=self.spool,
            number=lambda: next(numbers),
        )
        self.answers = list(answers)
        self.steps: list[Examine] = []
        self.sent = b""
        self.took = b""

    def spool(self, cap: int) -> Memory:
        self.spools.append(Memory())
        return self.spools[-1]

    def feed(self, *cuts: bytes) -> Survey | None:
        for cut in cuts:
            questions: list[Question] = self.talk.receive(Side.UPSTREAM, cut)
            while questions:
                question = questions.pop(0)
                assert isinstance(question, Examine)
                assert question.what == "git"
                self.steps.append(question)
                answer = self.answers.pop(0)
                done = answer if isinstance(answer, (Done, Refuse)) else Done(answer)
                questions += self.talk.answer(question.number, done)
            for span in self.talk.moves():
                if span.move is Move.SEND:
                    self.sent += span.raw
                else:
                    self.took += span.raw
        return self.talk.result


WHOLE = GREETING + REFS + PACK


@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_any_cut_is_the_same(size: int) -> None:
    scene = Scene(["", FETCH, None, to_plain(SEEN)])
    result = scene.feed(*(WHOLE[at : at + size] for at in range(0, len(WHOLE), size)))
    assert result == SEEN
    assert scene.took == WHOLE
    assert [each.step for each in scene.steps] == ["pack", "ask", "came", "survey"]
    assert scene.steps[1].arguments == {
        "others": [],
        "shown": [OLD],
        "branches": [OLD],
        "tags": [],
        "filters": True,
        "shallow": True,
    }
    assert scene.sent.endswith(b"0009done\n" + FLUSH + FLUSH)
    assert pkt(b"want %b\n" % OLD.encode()) in scene.sent
    assert pkt(b"filter tree:0\n") in scene.sent
    assert scene.spools[0].data == EMPTY
    assert scene.spools[0].closed
    assert scene.talk.closing
    assert scene.talk.error == ""


def test_an_upstream_that_ends_anywhere_leaves_things_unknown() -> None:
    for at in range(len(WHOLE)):
        scene = Scene(
            ["", FETCH, None, to_plain(SEEN)]
            if at >= len(GREETING + REFS)
            else ["", to_plain(SEEN)]
        )
        result = scene.feed(*filter(None, [WHOLE[:at]]), b"")
        assert result == SEEN, at
        said = scene.steps[-1].arguments["failed"]
        came = [e.arguments["failed"] for e in scene.steps if e.step == "came"]
        assert said or any(came), at


def test_an_upstream_that_says_anything() -> None:
    chance = random.Random(5)
    for _ in range(2000):
        wrong = bytearray(WHOLE)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(wrong))
            wrong[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        scene = Scene([""] + [to_plain(SEEN)] * 9)
        # Whatever step is asked for is answered with what only fits the last one.
        result = scene.feed(bytes(wrong), b"")
        assert isinstance(result, Survey)


@pytest.mark.parametrize(
    "line",
    [b"ERR no\n", b"version 1\n", b"%b refs/heads/main\0caps" % OLD.encode()],
)
def test_an_upstream_that_does_not_tell(line: bytes) -> None:
    scene = Scene(["", to_plain(SEEN)])
    assert scene.feed(pkt(line)) == SEEN
    assert scene.steps[-1].arguments["failed"]
    assert scene.sent == b""


def test_a_refusal_asks_nothing_of_the_upstream() -> None:
    scene = Scene(["the pack is bad", to_plain(SEEN)])
    assert scene.feed(GREETING) == SEEN
    assert scene.sent == b""


@pytest.mark.parametrize("answer", [Done(error="no room"), Done(None), Done(5), Refuse("no room")])
def test_what_can_not_be_looked_into_is_refused(answer: Done | Refuse) -> None:
    result = Scene([answer]).feed(GREETING)
    assert result is not None
    assert result.refusal
    assert [(e.forced, e.whole) for e in result.updates] == [(None, False)]


@pytest.mark.parametrize(
    "answer", [Done(error="slow"), None, [], to_plain(Survey(())), [1] * 13, ["x"] * 13]
)
def test_a_survey_of_something_else_is_refused(answer: object) -> None:
    result = Scene(["", None, answer]).feed(GREETING + REFS)
    assert result is not None
    assert result.refusal


def test_a_ref_that_moved_is_refused() -> None:
    result = Scene([""]).feed(GREETING + REFS.replace(OLD.encode(), NEW.encode()))
    assert result is not None
    assert "moved" in result.refusal


def test_no_more_comes_than_may() -> None:
    scene = Scene(["", FETCH, None, to_plain(SEEN)])
    scene.talk._client._left = 100
    head = pkt(b"packfile\n") + pkt(b"\1PACK\0\0\0\2\0\0\0\5")
    assert scene.feed(GREETING + REFS + head, *[pkt(b"\1" + bytes(1000))] * 3) == SEEN
    came = scene.steps[2].arguments
    assert "larger" in str(came["failed"])
    assert came["begun"] is True
    assert scene.spools[0].size <= 112


def test_answers_that_nobody_asked_for() -> None:
    scene = Scene([""])
    with pytest.raises(KeyError):
        scene.talk.answer(99, Done(""))
    assert scene.talk.error


def test_a_survey_goes_there_and_back() -> None:
    assert from_plain(to_plain(SEEN)) == SEEN
    for wrong in (None, [], [[]], {}, 5, [1] * 13, [*to_plain(SEEN)[:-1], 5]):  # type: ignore[index]
        with pytest.raises(ValueError):
            from_plain(wrong)


# -- tips


def tips(refs: bytes, *updates: RefUpdate) -> Tips:
    talk = Tips(updates or (MOVE,))
    for at in range(0, len(GREETING + refs), 7):
        talk.receive(Side.UPSTREAM, (GREETING + refs)[at : at + 7])
    return talk


def test_tips_that_stayed() -> None:
    talk = tips(REFS)
    assert talk.closing
    assert (talk.result, talk.error) == ((), "")
    sent = b"".join(span.raw for span in talk.moves() if span.move is Move.SEND)
    assert pkt(b"command=ls-refs\n") in sent
    assert pkt(b"ref-prefix refs/heads/main\n") in sent


def test_tips_that_moved_vanished_or_appeared() -> None:
    other = pkt(b"%b refs/heads/new\n" % NEW.encode())
    longer = pkt(b"%b refs/heads/main2\n" % OLD.encode())
    fresh = RefUpdate(ZERO, NEW, "refs/heads/new")
    talk = tips(other + longer + FLUSH, MOVE, fresh)
    assert talk.result == (("refs/heads/main", OLD, ZERO), ("refs/heads/new", ZERO, NEW))


def test_tips_that_nobody_tells() -> None:
    for said in (b"", pkt(b"ERR x"), pkt(b"junk refs/heads/main\n"), b"zzzz"):
        talk = Tips((MOVE,))
        talk.receive(Side.UPSTREAM, GREETING + said)
        talk.receive(Side.UPSTREAM, b"")
        assert talk.closing
        assert (talk.result, bool(talk.error)) == (None, True)


@pytest.mark.parametrize("before", [b"", pkt(b"version 1\n")])
def test_tips_of_an_upstream_that_only_shows_its_refs(before: bytes) -> None:
    """sshd without ``AcceptEnv GIT_PROTOCOL``: v0 is all that upload-pack speaks."""
    first = pkt(b"%b HEAD\0side-band-64k symref=HEAD:refs/heads/main\n" % OLD.encode())
    for now, moved in ((OLD, ()), (NEW, (("refs/heads/main", OLD, NEW),))):
        talk = Tips((MOVE,))
        said = before + first + pkt(b"%b refs/heads/main\n" % now.encode()) + FLUSH
        for at in range(0, len(said), 5):
            talk.receive(Side.UPSTREAM, said[at : at + 5])
        assert (talk.result, talk.error) == (moved, "")
        assert b"".join(span.raw for span in talk.moves() if span.move is Move.SEND) == FLUSH


def test_tips_that_are_cut_off_in_an_older_version() -> None:
    talk = Tips((MOVE,))
    talk.receive(Side.UPSTREAM, pkt(b"%b refs/heads/main\0side-band-64k\n" % OLD.encode()))
    talk.receive(Side.UPSTREAM, b"")
    assert (talk.result, bool(talk.error)) == (None, True)
