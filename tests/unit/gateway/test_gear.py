"""The straight gear's inner loop in C against the conversation and the log in Python: the
same bytes out, the same records, and afterwards the same state, whatever is said."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "protocols" / "postgres"),
]

from gear_kit import (  # noqa: E402
    ANEW,
    BEGIN,
    CLIENT,
    EXTRAS,
    PLAIN_RUNS,
    RUNS,
    SCRIPTS,
    UPSTREAM,
    Geared,
    Here,
    anew,
    bind,
    gear_type,
    play,
    run,
    scripts,
    state,
    surprises,
    tunes,
)
from pg_kit import (  # noqa: E402
    SYNC,
    close,
    columns,
    complete,
    describe,
    execute,
    f,
    parse,
    query,
    ready,
    row,
)

from protocols.recurring import Refrain  # noqa: E402
from recorder import framing, records  # noqa: E402
from recorder.errors import RecorderError  # noqa: E402
from recorder.scan import OpenSegment  # noqa: E402

pytestmark = pytest.mark.skipif(gear_type is None, reason="the inner loop is not built")


def compare(
    script: list[bytes], extra: dict[int, bytes], cut: int, seed: int, masked: bool, blocks: bool
) -> int:
    """How many records the inner loop wrote of this script; AssertionError where the two
    differ in anything."""
    with TemporaryDirectory() as folder:
        here = Here(Path(folder) / "here", masked=masked, blocks=blocks)
        geared = Geared(Path(folder) / "geared", masked=masked, blocks=blocks)
        expected = play(here, [*BEGIN, *script], extra, cut, seed)
        assert play(geared, [*BEGIN, *script], extra, cut, seed) == expected
        geared.seat.ashore()
        assert geared.questions == here.questions
        assert geared.numbers.following == here.numbers.following
        assert state(geared.traffic) == state(here.traffic)
        assert geared.end() == here.end()
        return int(geared.gear.records)


@given(
    script=SCRIPTS,
    extra=EXTRAS,
    cut=st.sampled_from([0, 0, 0, 1, 2]),
    seed=st.integers(0, 99),
    masked=st.booleans(),
    blocks=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_loop_does_what_python_does(**case: Any) -> None:
    compare(**case)


@pytest.mark.deep
@pytest.mark.timeout(1800)
@given(
    script=scripts(2, 40),
    extra=EXTRAS,
    cut=st.sampled_from([0, 0, 2]),
    seed=st.integers(0, 1 << 20),
    masked=st.booleans(),
    blocks=st.booleans(),
)
@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_loop_does_what_python_does_at_length(**case: Any) -> None:
    compare(**case)


def check_tunes(seeds: range) -> int:
    carried = 0
    for seed in seeds:
        chance = Random(seed)
        script, extra = tunes(chance), surprises(chance)
        cut, masked, blocks = chance.choice([0, 0, 0, 2]), chance.random() < 0.5, seed % 3 == 0
        carried += compare(script, extra, cut, seed, masked, blocks)
    return carried


def test_tunes() -> None:
    assert check_tunes(range(40)) > 40 * 10


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(100, 8100, 2000))
def test_more_tunes(first: int) -> None:
    assert check_tunes(range(first, first + 2000)) > 2000 * 10


@pytest.mark.parametrize("masked", [False, True])
def test_what_comes_again_is_carried(masked: bool) -> None:
    again = bind("a", [b"7", None, b"\1\2"], [0, 0, 1]) + describe("P") + execute() + SYNC
    assert compare([again] * 50, {}, 0, 1, masked, False) == 2 * 48


@pytest.mark.parametrize("masked", [False, True])
def test_what_is_prepared_anew_each_time_is_carried(masked: bool) -> None:
    assert compare([anew("select 1")] * 50, {}, 0, 1, masked, False) == 2 * 48
    turns = [anew("select 1"), anew("select 2", 23), run("a"), run("")] * 20
    assert compare(turns, {}, 0, 1, masked, False) >= 2 * (len(turns) - 6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_transactions_are_carried(masked: bool, named: bool) -> None:
    one = [run("y"), run("a"), run("b"), run("a"), run("z")]
    if not named:
        texts = ["begin", "select 1", "select 2", "savepoint s", "select 1", "commit"]
        one = [anew(text) for text in texts]
    assert compare(one * 20, {}, 0, 1, masked, False) >= 2 * len(one) * 18


PORTAL = [run("y"), run("a"), run("b")] * 3
"""Ends inside of a transaction, with what was run last still open."""


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "last",
    [
        [execute() + SYNC],  # the portal is still there
        [close("P") + SYNC, execute() + SYNC],
        [describe("P") + execute() + SYNC],
        [query("fail"), run("a"), run("a"), query("rollback"), run("a"), run("a")],
        [anew("fail"), run("b"), run("z"), run("b")],
        [run("a")[:-5]],  # without its Sync
        [run("a") + run("b"), run("b")],  # before the answer
        [query("commit"), execute() + SYNC],
        [query("set search_path to b"), run("b"), run("b"), run("z"), run("b")],
        [query("deallocate a"), run("a"), run("z")],
        [bind("a", [], [], "p") + SYNC, run("b"), run("b"), execute("p") + SYNC, run("z")],
        [execute("", 1) + SYNC, bind("b", [], []) + execute("", 1) + SYNC],
    ],
)
def test_what_a_transaction_leaves_open(masked: bool, last: list[bytes]) -> None:
    for renewed in ([], [anew("select 2"), anew("select 1")] * 2):
        for cut in (0, 1):
            carried = compare([*PORTAL, *renewed, *last], {}, cut, 1, masked, False)
            assert carried > 0 or cut


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "last",
    [
        [anew("nonsense"), run(""), anew("select 1")],  # the unnamed statement is gone
        [parse("", "nonsense") + SYNC, run(""), anew("select 1")],
        [anew("select 1", 23), anew("select 1", 25), anew("select 1"), run("")],
        [close("S") + SYNC, run(""), anew("select 1"), run("")],
        [query("deallocate a"), anew("select 1"), run("")],
        [describe("S") + SYNC, run(""), anew("select 1"), run("")],
        [parse("", "select 1") + describe("S") + SYNC, run(""), run("")],
        [anew("select 1")[:-5], SYNC, anew("select 1")],
        [anew("select 1") * 2, run("")],
        [parse("", "select 2") + SYNC, run(""), run("")],
        [anew("fail"), run(""), anew("select 2")],
        [parse("", "select 2") + run("a"), run(""), anew("select 2")],
    ],
)
def test_what_the_unnamed_statement_is(masked: bool, last: list[bytes]) -> None:
    for first in ([anew("select 1")] * 3, [anew("select 2"), anew("select 1")] * 2):
        for cut in (0, 1):
            carried = compare([*first, *last], {}, cut, 1, masked, False)
            assert carried > 0 or cut


def check_bytes_that_were_changed(data: Any) -> None:
    """A request or reply with some bytes changed is carried only where Python would have
    done the same."""
    step = bytearray(data.draw(st.one_of(PLAIN_RUNS, RUNS, ANEW)))
    for _ in range(data.draw(st.integers(1, 3))):
        step[data.draw(st.integers(0, len(step) - 1))] = data.draw(st.integers(0, 255))
    first = bind("a", [b"7"], []) + describe("P") + execute() + SYNC
    with TemporaryDirectory() as folder:
        here = Here(Path(folder) / "here", masked=False, blocks=False)
        geared = Geared(Path(folder) / "geared", masked=False, blocks=False)
        for side in (here, geared):
            play(side, [*BEGIN, first, first, *[anew("select 1"), anew("select 2")] * 2], {}, 0, 0)
            side.feed(CLIENT, bytes(step))
        assert geared.take(UPSTREAM) == here.take(UPSTREAM)
        assert geared.take(CLIENT) == here.take(CLIENT)
        geared.seat.ashore()
        assert state(geared.traffic) == state(here.traffic)
        assert geared.end() == here.end()


def check_replies_that_were_changed(data: Any, masked: bool) -> None:
    parsed = data.draw(st.booleans())
    asked = anew("select 2") if parsed else run("b")
    whole = (
        f("1") * parsed
        + f("2")
        + columns("a", "b")
        + row(b"2", None)
        + row(b"", b"x")
        + complete("SELECT 2")
    )
    reply = bytearray(whole + ready(data.draw(st.sampled_from("IITE"))))
    for _ in range(data.draw(st.integers(1, 3))):
        reply[data.draw(st.integers(0, len(reply) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        here = Here(Path(folder) / "here", masked=masked, blocks=False)
        geared = Geared(Path(folder) / "geared", masked=masked, blocks=False)
        for side in (here, geared):
            play(side, [*BEGIN, asked, asked], {}, 0, 0)
            side.feed(CLIENT, asked)
            assert side.take(UPSTREAM) == asked
            side.feed(UPSTREAM, bytes(reply))
        assert geared.gear.records >= 1
        assert geared.take(CLIENT) == here.take(CLIENT)
        geared.seat.ashore()
        assert geared.questions == here.questions
        assert state(geared.traffic) == state(here.traffic)
        assert geared.end() == here.end()


@given(data=st.data(), masked=st.booleans())
@settings(max_examples=12, deadline=None)
def test_bytes_that_were_changed(data: Any, masked: bool) -> None:
    check_bytes_that_were_changed(data)
    check_replies_that_were_changed(data, masked)


@pytest.mark.deep
@pytest.mark.timeout(1800)
@given(data=st.data(), masked=st.booleans())
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
def test_bytes_that_were_changed_at_length(data: Any, masked: bool) -> None:
    check_bytes_that_were_changed(data)
    check_replies_that_were_changed(data, masked)


def test_what_was_not_written_did_not_happen(tmp_path: Path) -> None:
    """The disk is full in the middle: nothing is sent, and what the log says of itself is
    what is on record."""
    again = bind("a", [b"7"], []) + describe("P") + execute() + SYNC
    side = Geared(tmp_path, masked=False, blocks=False)
    play(side, [*BEGIN, *[again] * 4], {}, 0, 0)
    assert side.seat.aboard
    written = side.journal.written
    side.disk.full = True
    side.peers[0].sendall(again)
    with pytest.raises(RecorderError):
        side.round()
    assert not side.seat.aboard
    assert side.take(UPSTREAM) == b""
    assert side.journal.written == written
    with pytest.raises(BlockingIOError):
        side.peers[1].recv(1)
    with OpenSegment(side.journal.directory / "ballast.agj") as ballast:
        (record,) = [r for r in ballast.records() if isinstance(r, framing.Framed)]
    counts = records.unpack(record.body)[5]
    assert counts == [*side.outbox.arrived, counts[2], counts[3]]
    assert side.log._seq == len(side.log.places or ()) + 1  # with its END


def test_refrains_end_with_what_they_depend_on() -> None:
    again = bind("a", [b"7"], []) + describe("P") + execute() + SYNC
    with TemporaryDirectory() as folder:
        side = Geared(Path(folder), masked=True, blocks=False)
        play(side, [*BEGIN, again, again, again], {}, 0, 0)
        before = side.gear.records
        side.memory.clear()
        play(side, [again], {}, 0, 0)
        assert side.gear.records == before  # Python looked at it again
        assert len(side.questions) == 2  # of the results, once more
        play(side, [again, again], {}, 0, 0)
        assert side.gear.records == before + 4
        assert len(side.questions) == 2
        side.end()


def test_a_refrain_is_told_once_and_not_of_what_was_just_prepared() -> None:
    with TemporaryDirectory() as folder:
        side = Here(Path(folder), masked=False, blocks=False)
        again = bind("a", [b"7"], []) + execute() + SYNC
        play(side, [*BEGIN, again], {}, 0, 0)
        assert side.traffic.refrain() is None  # it was prepared since the last look
        play(side, [again], {}, 0, 0)
        refrain = side.traffic.refrain()
        assert isinstance(refrain, Refrain)
        assert (refrain.name, refrain.text) == (b"a", "select 1")
        assert side.traffic.refrain() is None
        side.end()
