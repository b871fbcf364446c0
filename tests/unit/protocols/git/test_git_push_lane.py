"""The push lane's laws, and what it does with peers that misbehave."""

from __future__ import annotations

import random

import pytest
from git_packs import BLOB, pack, packed
from git_push_stage import (
    CHOSEN,
    CLIENT,
    ONE,
    THREE,
    TWO,
    UPSTREAM,
    ZERO,
    PushStage,
    advertisement,
    outcome,
    request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.contract import (
    Allow,
    Column,
    Command,
    Done,
    Errand,
    Examine,
    Plan,
    Refuse,
    Remark,
    Result,
    Screen,
    SpoolFull,
)
from protocols.errors import LimitError
from protocols.git.pktline import FLUSH, pkt
from protocols.git.push import AHEAD
from protocols.git.sideband import DATA, ERROR, TEXT, lines
from protocols.git.survey import RefUpdate, Survey, UpdateSeen
from protocols.wire import Mark, Side

PACK = pack(packed(BLOB, b"PACK0000"), packed(BLOB, bytes(3000)))
MAIN = f"{ONE} {TWO} refs/heads/main"
NEW = f"{ZERO} {TWO} refs/heads/0000PACK"
PUSH = request(MAIN, NEW, before=[f"shallow {THREE}"]) + PACK
REPORT = outcome("refs/heads/main", "refs/heads/0000PACK", text="Resolving 0000\rdone\n")
CUTS = st.lists(st.integers(0, 5000), max_size=12)
NO = Refuse("not today", "r1")
NG = b"".join(
    pkt(b"ng " + ref + b" blocked by rule r1: not today (session s-1)\n")
    for ref in (b"refs/heads/main", b"refs/heads/0000PACK")
)
REFUSED = lines(DATA, pkt(b"unpack ok\n") + NG + FLUSH) + FLUSH
OPTIONS = CHOSEN + " push-options"


def stage(answer: object = None, **words: object) -> PushStage:
    return PushStage(answer, **words)  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None)
@given(CUTS)
def test_allowed_is_the_identity_for_any_cut(cuts: list[int]) -> None:
    lane = stage()
    lane.play(PUSH, REPORT, cuts, main=ONE)
    assert lane.error is None
    assert lane.out[UPSTREAM] == PUSH
    shown = advertisement(main=ONE).replace(b" push-options push-cert=x", b"")
    assert lane.out[CLIENT][4:].startswith(shown[4:70])
    assert lane.out[CLIENT].endswith(REPORT)
    assert lane.lane.finished is None
    assert lane.spools[0].closed
    whole = stage()
    whole.play(PUSH, REPORT, main=ONE)
    assert lane.command.digest() == whole.command.digest()
    assert lane.out == whole.out


@settings(max_examples=40, deadline=None)
@given(CUTS)
def test_refused_moves_a_flush_for_any_cut(cuts: list[int]) -> None:
    lane = stage(NO)
    lane.play(PUSH, REPORT, cuts, main=ONE)
    assert lane.out[UPSTREAM] == FLUSH
    assert lane.out[CLIENT].endswith(REFUSED)
    assert lane.out[CLIENT].count(REFUSED) == 1
    assert lane.lane.finished == 0
    assert lane.spools[0].closed


def test_byte_by_byte() -> None:
    for answer in (Allow(), NO):
        slow, fast = stage(answer), stage(answer)
        slow.play(PUSH, REPORT, range(5000), main=ONE)
        fast.play(PUSH, REPORT, main=ONE)
        assert slow.out == fast.out


def test_the_client_ends_at_every_byte() -> None:
    for end in range(len(PUSH)):
        lane = stage()
        lane.feed(UPSTREAM, advertisement(main=ONE))
        if end:
            lane.feed(CLIENT, PUSH[:end])
        assert not lane.out[UPSTREAM]
        lane.feed(CLIENT, b"")
        assert lane.out[UPSTREAM] == FLUSH, end
        assert (lane.lane.finished is None) == (end == 0)
        assert all(spool.closed for spool in lane.spools)
        assert not any(isinstance(one, Errand) for one in lane.asked)


def test_the_upstream_ends_at_every_byte_of_its_report() -> None:
    for end in range(len(REPORT)):
        lane = stage()
        lane.feed(UPSTREAM, advertisement(main=ONE))
        lane.feed(CLIENT, PUSH)
        lane.feed(CLIENT, b"")
        start = len(lane.out[CLIENT])
        lane.feed(UPSTREAM, REPORT[:end])
        lane.feed(UPSTREAM, b"")
        said = bytes(lane.out[CLIENT][start:])
        whole_lines = len(lines(TEXT, b"Resolving 0000\rdone\n"))
        if end in (0, whole_lines):
            assert b"ng refs/heads/main the upstream ended without a report" in said
        if end == len(REPORT) - len(FLUSH):
            assert said.endswith(
                lines(ERROR, b"the upstream ended without a report (session s-1)\n") + FLUSH
            )
        assert lane.lane.finished == 1
        assert lane.spools[0].closed


def test_the_upstream_ends_while_the_pack_comes() -> None:
    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE))
    lane.feed(CLIENT, PUSH[:-10])
    lane.feed(UPSTREAM, b"")
    assert b"ng refs/heads/main the upstream closed the connection" in lane.out[CLIENT]
    assert lane.lane.finished is None
    lane.feed(CLIENT, PUSH[-10:])
    lane.feed(CLIENT, b"")
    assert lane.lane.finished == 0
    assert not lane.out[UPSTREAM]


def test_capabilities_are_the_allowed_ones() -> None:
    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE))
    kept = b"report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta"
    tail = b" object-format=sha1 agent=git/2 no-thin\n"
    said = pkt(f"{ONE} refs/heads/main\0".encode() + kept + tail) + FLUSH
    assert lane.out[CLIENT] == said
    assert lane.marks == {Mark.EDITED, Mark.PLAIN}
    lane = stage(push_options=("x",))
    lane.feed(UPSTREAM, advertisement(main=ONE))
    assert b" push-options " in lane.out[CLIENT]


@pytest.mark.parametrize(
    "said",
    [
        b"0001",
        b"0003",
        b"+00a",
        b"0x0a",
        b"PACK",
        pkt(b"hello"),
        pkt(f"push-cert\0{CHOSEN}".encode()),
        request(MAIN, chosen=" push-cert"),
        request(MAIN, chosen=" push-options"),
        request(MAIN, chosen=" agent=a\nb"),
        request(MAIN, chosen=" object-format=sha256"),
        request(MAIN + "\n"),
        request(MAIN, NEW + "\0report-status"),
        request(MAIN.replace("main", "ma\x01in")),
        request(MAIN.replace("main", "ma..in")),
        request(MAIN.replace("1", "A")),
        request(MAIN.replace(" ", "  ", 1)),
        request(f"{ONE * 2} {TWO * 2} refs/heads/main"),
        request(MAIN, f"shallow {ONE}"),
        request(f"{ONE} {ZERO} refs/heads/main") + b"PACK",
        PUSH + b"x",
    ],
)
def test_a_client_that_breaks_the_protocol(said: bytes) -> None:
    for cuts in ([], range(5000)):
        lane = stage()
        lane.play(said, b"", cuts, main=ONE)
        assert lane.error is not None
        assert lane.error.side is Side.CLIENT
        # A push that was whole may be on its way before what can't stand behind it.
        assert lane.out[UPSTREAM] in (FLUSH, b"", PUSH, said[:-4])
        assert lane.lane.finished == 128
        assert all(spool.closed for spool in lane.spools)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (f"{ZERO} {TWO} HEAD", "only refs/<kind>/<name>"),
        (f"{ZERO} {TWO} refs/stash", "only refs/<kind>/<name>"),
        (f"{ZERO} {TWO} refs/heads/\udce4", "its name is not UTF-8"),
        (f"{ZERO} {ZERO} refs/heads/x", "there is nothing to do"),
        (f"{ONE} {TWO} refs/heads/x", f"it was shown at {ZERO}, not at {ONE}"),
        (f"{ZERO} {TWO} refs/heads/main", f"it was shown at {ONE}, not at {ZERO}"),
        (MAIN, "it is named twice"),
    ],
)
def test_what_can_never_be_right_is_reported(command: str, why: str) -> None:
    other = f"{ZERO} {TWO} refs/heads/other"
    for cuts in ([], range(5000)):
        lane = stage()
        before = [MAIN] if why.endswith("twice") else []
        lane.play(request(*before, command, other) + PACK + b"", b"", cuts, main=ONE)
        ref = command.split()[2].encode("utf-8", "surrogateescape")
        assert b"ng %b %b" % (ref, why.encode()) in lane.out[CLIENT]
        assert b"ng refs/heads/other not attempted: another ref" in lane.out[CLIENT]
        assert lane.out[UPSTREAM] == FLUSH
        assert lane.lane.finished == 0
        assert {type(one) for one in lane.asked} == {Remark}
        assert not lane.spools


def test_a_request_is_bounded() -> None:
    commands = [f"{ZERO} {TWO} refs/heads/b{number}" for number in range(50)]
    lane = stage(limit=2000)
    lane.play(request(*commands), b"")
    assert isinstance(lane.error, LimitError)
    lane = stage(limit=2000)
    lane.feed(CLIENT, bytes(2001), range(3000))
    assert isinstance(lane.error, LimitError)
    lane = stage(limit=2000)
    lane.play(request(MAIN) + pack(*[packed(BLOB, bytes(range(256)))] * 20), b"", main=ONE)
    assert lane.error is None


def test_a_client_that_does_not_wait() -> None:
    lane = stage()
    lane.feed(CLIENT, PUSH[:500])
    assert not any(lane.out.values())
    lane.feed(UPSTREAM, advertisement(main=ONE), range(600))
    lane.feed(CLIENT, PUSH[500:])
    assert lane.out[UPSTREAM] == PUSH


def test_options_are_whole_and_permitted() -> None:
    said = request(MAIN, chosen=OPTIONS) + pkt(b"ci.skip") + pkt(b"a=PACK 0000") + FLUSH + PACK
    lane = stage(push_options=("ci.skip", "a=*"))
    lane.play(said, REPORT, range(700), main=ONE)
    assert lane.out[UPSTREAM] == said
    assert lane.command.parts[0].facts["push_options"] == ("ci.skip", "a=PACK 0000")
    lane = stage(push_options=("ci", "a=*"))
    lane.play(said, REPORT, range(700), main=ONE)
    assert b"a push option that is not permitted here" in lane.out[CLIENT]
    assert lane.out[UPSTREAM] == FLUSH
    lane = stage(push_options=("*",))
    lane.play(request(MAIN, chosen=OPTIONS) + pkt(b"a\nb") + FLUSH, b"", main=ONE)
    assert lane.error is not None


def test_without_a_report() -> None:
    said = request(MAIN, chosen="") + PACK
    lane = stage(NO)
    lane.play(said, b"", main=ONE)
    assert lane.out[CLIENT].endswith(pkt(b"ERR blocked by rule r1: not today (session s-1)"))
    assert lane.lane.finished == 1
    lane = stage(NO)
    lane.play(request(MAIN, chosen=" side-band-64k") + PACK, b"", main=ONE)
    word = lines(ERROR, b"blocked by rule r1: not today (session s-1)\n") + FLUSH
    assert lane.out[CLIENT].endswith(word)
    lane = stage()
    lane.play(said, b"", main=ONE)
    assert lane.out[UPSTREAM] == said


def test_a_report_without_side_band() -> None:
    said = request(MAIN, chosen=" report-status") + PACK
    plain = pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + FLUSH
    lane = stage(held=True)
    lane.play(said, plain, range(400), main=ONE)
    assert lane.out[CLIENT].endswith(plain)
    assert b"waiting" not in lane.out[CLIENT]
    assert lane.lane.mute
    lane = stage(NO)
    lane.play(said, b"", main=ONE)
    assert lane.out[CLIENT].endswith(pkt(b"unpack ok\n") + NG[: NG.index(b"\n") + 1] + FLUSH)
    lane = stage()
    lane.play(said, b"", main=ONE)
    assert b"ng refs/heads/main the upstream ended without a report" in lane.out[CLIENT]
    assert lane.lane.finished == 1


def test_a_pack_that_is_none_is_reported() -> None:
    for broken in (PACK[:-1] + bytes([PACK[-1] ^ 1]), b"0000", b"PACK" + bytes(4)):
        lane = stage()
        lane.play(request(MAIN) + broken, b"", main=ONE)
        assert b"ng refs/heads/main " in lane.out[CLIENT]
        assert lane.out[UPSTREAM] == FLUSH
        assert lane.lane.finished == 0
        assert [one for one in lane.asked if isinstance(one, Remark)]


def test_no_room_for_a_pack() -> None:
    def none(cap: int) -> object:
        raise SpoolFull("no room")

    lane = stage(spool=none)
    lane.play(PUSH, b"", main=ONE)
    assert b"ng refs/heads/main no room (session s-1)" in lane.out[CLIENT]
    assert lane.lane.finished == 0


def test_the_survey_refuses_whatever_the_rules_say() -> None:
    seen = (UpdateSeen(RefUpdate(ONE, TWO, "refs/heads/main"), False),)
    lane = stage(survey=Survey(seen, "an object that no ref reaches: 1234"))
    lane.play(request(MAIN) + PACK, b"", main=ONE)
    assert b"ng refs/heads/main an object that no ref reaches: 1234 (session" in lane.out[CLIENT]
    assert lane.out[UPSTREAM] == FLUSH
    assert not [one for one in lane.asked if not isinstance(one, Errand | Remark)]


def test_unknown_is_unknown() -> None:
    lane = stage(survey="deaf")
    lane.play(PUSH, REPORT, main=ONE)
    changed, created = lane.command.parts
    assert (changed.facts["update"], created.facts["update"]) == (None, "create")
    assert not changed.complete
    assert not created.complete
    assert changed.why_incomplete == "deaf"
    assert changed.facts["paths"] is None


LARGE = pack(packed(BLOB, random.Random(7).randbytes(AHEAD + (1 << 20))))
LARGE_PUSH = request(MAIN) + LARGE


@pytest.mark.parametrize("late", [False, True])
def test_a_long_pack_is_indexed_while_it_arrives(late: bool) -> None:
    it = stage()
    it.ahead_late = late
    it.feed(UPSTREAM, advertisement(main=ONE))
    it.feed(CLIENT, LARGE_PUSH[: AHEAD - 10])
    assert not it.asked
    it.feed(CLIENT, LARGE_PUSH[AHEAD - 10 : -5])
    assert [type(each) for each in it.asked] == [Examine]
    it.feed(CLIENT, LARGE_PUSH[-5:])
    if late:
        # The inquiry waits for its turn, and the client may be told so.
        assert len(it.asked) == 1
        it.answer_ahead(Done())
    assert [type(each) for each in it.asked] == [Examine, Errand, Remark, Command]
    assert bytes(it.out[UPSTREAM]) == LARGE_PUSH


def test_a_refusal_does_not_wait_for_the_index() -> None:
    it = stage(max_pack=AHEAD + 1000)
    it.ahead_late = True
    it.feed(UPSTREAM, advertisement(main=ONE))
    it.feed(CLIENT, LARGE_PUSH[: AHEAD + 500])
    it.feed(CLIENT, LARGE_PUSH[AHEAD + 500 :])
    assert b"ng refs/heads/main" in it.out[CLIENT]
    it.answer_ahead(Done(error="gone"))
    assert [type(each) for each in it.asked if not isinstance(each, Remark)] == [Examine]
    assert bytes(it.out[UPSTREAM]) in (b"", FLUSH)


def test_held_then_looked_at_again() -> None:
    lane = stage(held=True)
    lane.play(PUSH, REPORT, main=ONE)
    errands = [one.purpose for one in lane.asked if isinstance(one, Errand)]
    assert errands == ["what the push does", "whether refs moved while the push waited"]
    assert lines(TEXT, b"waiting\n") in lane.out[CLIENT]
    assert lane.out[UPSTREAM] == PUSH
    for moved in (Done((("refs/heads/main", ONE, THREE),)), Done(error="deaf"), Done(None)):
        lane = stage(held=True)
        lane.moved = moved
        lane.play(PUSH, REPORT, main=ONE)
        assert lane.out[UPSTREAM] == FLUSH
        assert lane.lane.finished == 0


def test_withdrawn_and_dismissed() -> None:
    for act in ("withdraw", "dismiss"):
        lane = stage()
        lane.feed(UPSTREAM, advertisement(main=ONE))
        (errand,) = lane.lane.receive(CLIENT, PUSH)
        if act == "withdraw":
            lane.lane.withdraw(errand.number)
        else:
            lane.lane.dismiss(Refuse("the gateway stops", kind="shutdown"))
        assert lane.lane.answer(errand.number, Done(error="late")) == []
        lane._flush()
        assert lane.out[UPSTREAM] == FLUSH
        assert lane.lane.finished == 0
        assert b"ng refs/heads/main " in lane.out[CLIENT]
        with pytest.raises(KeyError):
            lane.lane.answer(errand.number, Done())


def test_texts_of_the_upstream_are_masked() -> None:
    def spans(data: bytes) -> list[tuple[int, int]]:
        at = data.find(b"hunter2")
        return [] if at < 0 else [(at, at + 7)]

    report = outcome("refs/heads/main", text="the pass") + b""
    report = lines(TEXT, b"pass hun") + lines(TEXT, b"ter2\n") + REPORT
    masked = b"".join((lines(TEXT, b"pass [masked]\n"), REPORT))
    lane = stage(own=Screen(spans, 7))
    lane.play(PUSH, report, main=ONE)
    assert lane.out[CLIENT].endswith(masked)
    assert Mark.EDITED in lane.marks

    lane = stage(Allow(masked=True))
    answers = [Allow(masked=True), Plan((None,), detect=Screen(spans, 7))]
    lane.answers = answers[0]
    settle = lane._reply

    def reply(question: object) -> list[object]:
        if isinstance(question, Result):
            assert question.columns == (Column("remote messages", "text", ()),)
            lane.answers = answers[1]
        return settle(question)  # type: ignore[arg-type, return-value]

    lane._reply = reply  # type: ignore[assignment, method-assign]
    lane.play(PUSH, report, main=ONE)
    assert lane.out[CLIENT].endswith(masked)
    assert lane.out[UPSTREAM] == PUSH


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(PUSH)), CUTS)
def test_only_wire_errors_come_of_noise(noise: bytes, at: int, cuts: list[int]) -> None:
    lane = stage()
    lane.play(PUSH[:at] + noise + PUSH[at + len(noise) :], REPORT, cuts, main=ONE)
    # Noise that comes when all is done and sent takes nothing back.
    whole = (lane.came[CLIENT], PUSH)
    assert lane.out[UPSTREAM] in whole or lane.out[UPSTREAM] in (b"", FLUSH)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(REPORT)), CUTS)
def test_only_wire_errors_come_of_a_noisy_upstream(noise: bytes, at: int, cuts: list[int]) -> None:
    lane = stage()
    lane.play(PUSH, REPORT[:at] + noise + REPORT[at:], cuts, main=ONE)
    if lane.error is not None:
        assert lane.error.side is Side.UPSTREAM


def test_an_upstream_that_speaks_out_of_turn() -> None:
    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE) + pkt(b"hello"))
    assert lane.error is not None
    assert lane.error.side is Side.UPSTREAM
    assert b"hello" not in lane.out[CLIENT]


def sent() -> PushStage:
    """All went on, and nothing came back yet."""
    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE))
    lane.feed(CLIENT, PUSH)
    lane.feed(CLIENT, b"")
    return lane


def test_dismissed_at_every_stage() -> None:
    end = Refuse("the gateway stops", kind="shutdown")
    word = b"the gateway stops (session s-1)"

    lane = stage()
    lane.lane.dismiss(end)
    lane._flush()
    assert lane.out == {CLIENT: pkt(b"ERR " + word), UPSTREAM: b""}

    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE))
    lane.feed(CLIENT, PUSH[:-10])
    lane.lane.dismiss(end)
    lane._flush()
    assert b"ng refs/heads/main " + word in lane.out[CLIENT]
    assert lane.out[UPSTREAM] == FLUSH

    lane = sent()
    lane.feed(UPSTREAM, lines(TEXT, b"half a line"))
    assert not lane.out[CLIENT].endswith(b"half a line")
    lane.lane.dismiss(end)
    lane._flush()
    last = lines(TEXT, b"half a line") + lines(ERROR, word + b"\n") + FLUSH
    assert lane.out[CLIENT].endswith(last)
    assert (lane.lane.finished, lane.lane.owed) == (128, False)

    lane = sent()
    lane.feed(UPSTREAM, REPORT)
    assert lane.lane.at_rest
    lane.lane.dismiss(end)
    lane._flush()
    assert lane.out[CLIENT].endswith(REPORT)
    assert lane.lane.finished == 0


def test_what_is_dropped_is_bounded() -> None:
    lane = stage(max_pack=100)
    lane.feed(UPSTREAM, advertisement(main=ONE))
    lane.feed(CLIENT, request(MAIN) + pack(packed(BLOB, bytes(range(256)))))
    assert b"ng refs/heads/main a pack of more than 100 bytes" in lane.out[CLIENT]
    assert lane.lane.finished is None
    piece = bytes(1 << 20)
    for count in range(65):
        assert lane.lane.finished is None, count
        lane.lane.receive(CLIENT, piece)
        lane.lane.moves()
    assert lane.lane.finished == 0
    assert lane.lane.held == (0, 0)


def test_a_refused_pack_ends_where_it_ends() -> None:
    lane = stage()
    lane.feed(UPSTREAM, advertisement(main=ONE))
    lane.feed(CLIENT, request(f"{ZERO} {TWO} HEAD") + PACK[:-1])
    assert lane.lane.finished is None
    lane.feed(CLIENT, PACK[-1:])
    assert lane.lane.finished == 0


def test_words_for_who_waits_stand_between_lines() -> None:
    lane = stage()
    lane.lane.say(1, "nobody asked")
    lane.feed(UPSTREAM, advertisement(main=ONE))
    (errand,) = lane.lane.receive(CLIENT, PUSH)
    lane.lane.moves()
    assert not lane.lane.mute
    lane.lane.say(errand.number, "two\nlines \x1b[0m")
    lane.lane.say(errand.number + 7, "of another question")
    lane._flush()
    assert lane.out[CLIENT].endswith(lines(TEXT, b"two lines  [0m\n"))
    assert lane.lane.held[0] == len(PUSH) - len(PACK)
