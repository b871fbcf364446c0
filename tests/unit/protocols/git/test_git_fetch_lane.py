from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from git_lanes import Drive, opening
from git_pump import find
from git_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.contract import Allow, Answer, Command, Mask, Plan, Question, Refuse, Result
from protocols.errors import LimitError, WireError
from protocols.git.fetch import FetchLane
from protocols.git.pktline import DELIM, FLUSH, pkt
from protocols.git.sideband import lines
from protocols.wire import Side

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
A, B, C = (letter * 40 for letter in (b"a", b"b", b"c"))
CAPS = b"multi_ack_detailed side-band side-band-64k shallow filter no-progress agent=git/2.39"
REFS = pkt(A + b" HEAD\0" + CAPS + b"\n") + pkt(A + b" refs/heads/main\n") + FLUSH
WANT = pkt(b"want " + A + b" side-band-64k\n")
DONE = pkt(b"done\n")
CAPS2 = (
    pkt(b"version 2\n")
    + pkt(b"ls-refs=unborn\n")
    + pkt(b"fetch=shallow filter\n")
    + pkt(b"object-format=sha1\n")
    + FLUSH
)


def fetch2(*lines: bytes) -> bytes:
    said = b"".join(pkt(line + b"\n") for line in lines)
    return pkt(b"command=fetch\n") + pkt(b"object-format=sha1\n") + DELIM + said + FLUSH


PACK2 = pkt(b"packfile\n") + lines(1, b"PACK...") + FLUSH


def greeted(version: int = 0, **more: Any) -> Drive:
    drive = Drive(FetchLane(opening(version, **more)))
    drive.feed(UPSTREAM, CAPS2 if version == 2 else REFS)
    return drive


def refusing(question: Question) -> Answer:
    return Refuse("no", rule="r1")


# -- recorded conversations -------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, list[Any]]]:
    world = World(tmp_path_factory.mktemp("git"))
    world.build()
    url = world.url("full.git")
    for version in (0, 1, 2):
        here = str(world.root / f"v{version}")
        Path(here).mkdir()
        words = ("clone", "--progress", "--depth", "2", "--no-single-branch", url, "c")
        world.git(*words, at=here, version=version, keep=True)
        world.git("fetch", "--unshallow", at=f"{here}/c", version=version, keep=True)
        missing = ("fetch", "origin", "1" * 40)
        world.git(*missing, at=f"{here}/c", version=version, keep=True, code=128)
    runs = world.runs()
    assert len(runs) >= 9
    return [
        (run["version"], [(Side(side), bytes.fromhex(raw)) for side, raw in run["events"]])
        for run in runs
    ]


def masking(question: Question) -> Answer:
    if isinstance(question, Command):
        return Allow(masked=True)
    return Plan((None,), detect=find(b"objects"))


def replayed(version: int, events: list[Any], sizes: list[int], masked: bool) -> Drive:
    lane = FetchLane(opening(version, find(b"upload-pack")))
    drive = Drive(lane, masking if masked else None)
    for side, raw in events:
        if raw:
            drive.feed(side, raw, sizes * (len(raw) // sum(sizes) + 1) if sizes else ())
        else:
            drive.end(side)
    return drive


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=4), st.booleans())
def test_recordings_under_any_cut(
    recorded: list[tuple[int, list[Any]]], sizes: list[int], masked: bool
) -> None:
    for version, events in recorded:
        whole = replayed(version, events, [], masked)
        cut = replayed(version, events, sizes, masked)
        assert cut.sent == whole.sent
        assert cut.asked == whole.asked
        assert whole.sent[UPSTREAM] == whole.came[CLIENT]
        if masked:
            assert b"objects" not in whole.sent[CLIENT]
            assert b"objects" not in whole.plain[UPSTREAM]
            assert b"objects" not in cut.plain[UPSTREAM]


def test_single_bytes(recorded: list[tuple[int, list[Any]]]) -> None:
    for version, events in recorded:
        cut = replayed(version, events, [1], True)
        assert cut.sent == replayed(version, events, [], True).sent


# -- the verdict ------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 2])
def test_nothing_leaves_before_the_verdict(version: int) -> None:
    drive = greeted(version)
    drive.answers = lambda question: None
    request = fetch2(b"want " + A, b"done") if version else WANT + FLUSH + DONE
    drive.feed(CLIENT, request)
    (question,) = drive.asked
    assert isinstance(question, Command)
    assert not drive.sent[UPSTREAM]
    assert drive.lane.held[CLIENT] == len(request)
    assert not drive.lane.at_rest
    drive.settle(drive.lane.answer(question.number, Allow()))
    drive.take()
    assert drive.sent[UPSTREAM] == request
    assert drive.lane.held == (0, 0)
    assert drive.lane.owed


@pytest.mark.parametrize("version", [0, 2])
def test_a_refusal(version: int) -> None:
    drive = greeted(version)
    drive.answers = refusing
    shown = len(drive.sent[CLIENT])
    drive.feed(CLIENT, fetch2(b"want " + A, b"done") if version else WANT + FLUSH + DONE)
    assert drive.sent[CLIENT][shown:] == pkt(b"ERR blocked by rule r1: no (session s-1)")
    assert not drive.sent[UPSTREAM]
    assert drive.lane.finished == 128
    # Whatever comes now goes nowhere.
    drive.feed(CLIENT, b"zzzz")
    drive.feed(UPSTREAM, b"zzzz")
    assert not drive.sent[UPSTREAM]


@pytest.mark.parametrize(
    ("refuse", "want"),
    [
        (Refuse("no"), b"ERR blocked: no (session s-1)"),
        (Refuse("", rule="r"), b"ERR blocked by rule r: not allowed (session s-1)"),
        (Refuse("later", kind="busy"), b"ERR later (session s-1)"),
        (Refuse("a\n\x1b[1m\u202eb", kind="busy"), b"ERR a [1m b (session s-1)"),
    ],
)
def test_words_of_a_refusal(refuse: Refuse, want: bytes) -> None:
    drive = greeted()
    drive.answers = lambda question: refuse
    drive.feed(CLIENT, WANT + FLUSH)
    assert drive.sent[CLIENT].endswith(pkt(want))


def test_withdrawn_and_dismissed() -> None:
    drive = greeted()
    drive.answers = lambda question: None
    drive.feed(CLIENT, WANT + FLUSH)
    drive.lane.withdraw(drive.asked[0].number)
    drive.take()
    assert drive.sent[CLIENT].endswith(pkt(b"ERR withdrawn by the client (session s-1)"))
    drive = greeted()
    drive.feed(CLIENT, WANT + FLUSH + DONE)
    drive.feed(UPSTREAM, pkt(b"NAK\n") + lines(1, b"PACK") + lines(2, b"half a li"))
    drive.lane.dismiss(Refuse("going down", kind="shutdown"))
    drive.take()
    last = lines(2, b"half a li") + lines(3, b"going down (session s-1)")
    assert drive.sent[CLIENT].endswith(last)
    assert drive.lane.finished == 128


def test_no_word_in_the_middle_of_a_line() -> None:
    drive = greeted()
    drive.feed(CLIENT, WANT + FLUSH + DONE)
    drive.feed(UPSTREAM, pkt(b"NAK\n") + lines(1, b"PACK" * 10)[:20])
    drive.lane.dismiss(Refuse("going down", kind="shutdown"))
    drive.take()
    assert bytes(drive.sent[CLIENT]).endswith(lines(1, b"PACK" * 10)[:20])


def test_answers_that_are_none() -> None:
    drive = greeted()
    drive.answers = lambda question: None
    drive.feed(CLIENT, WANT + FLUSH)
    with pytest.raises(KeyError):
        drive.lane.answer(77, Allow())
    with pytest.raises(TypeError):
        drive.lane.answer(drive.asked[0].number, Plan((None,)))


def test_v2_asks_again_only_for_what_is_new() -> None:
    drive = greeted(2)
    answer = pkt(b"acknowledgments\n") + pkt(b"NAK\n") + FLUSH
    for request, asked in (
        (fetch2(b"want " + A, b"have " + B), 1),
        (fetch2(b"want " + A, b"have " + C), 1),
        (fetch2(b"want " + B, b"have " + C), 2),
        (fetch2(b"want " + A, b"want " + B), 2),
        (fetch2(b"want " + A, b"deepen 1"), 3),
        (fetch2(b"want " + A, b"filter blob:none"), 4),
    ):
        drive.feed(CLIENT, request)
        assert len(drive.asked) == asked
        drive.feed(UPSTREAM, answer)
    drive.answers = refusing
    drive.feed(CLIENT, fetch2(b"want " + A, b"deepen 2"))
    assert drive.lane.finished == 128
    assert not drive.sent[UPSTREAM].endswith(fetch2(b"want " + A, b"deepen 2"))


def test_v2_requests_wait_for_their_turn() -> None:
    drive = greeted(2)
    listing = pkt(b"command=ls-refs\n") + DELIM + pkt(b"peel\n") + FLUSH
    both = listing + fetch2(b"want " + A, b"done")
    drive.feed(CLIENT, both)
    assert drive.sent[UPSTREAM] == listing
    drive.feed(UPSTREAM, pkt(A + b" refs/heads/x symref-target:refs/heads/y\n") + FLUSH)
    assert drive.sent[UPSTREAM] == both
    (command,) = drive.asked
    assert isinstance(command, Command)
    assert command.text == "fetch org/repo: refs/heads/x"
    drive.feed(UPSTREAM, PACK2)
    drive.feed(CLIENT, FLUSH)
    assert drive.lane.at_rest
    assert not drive.lane.owed


def test_many_wants_are_all_in_the_context() -> None:
    drive = greeted()
    wants = b"".join(pkt(b"want %040x\n" % n) for n in range(1, 50))
    drive.feed(CLIENT, WANT + wants + pkt(b"deepen 3\n") + FLUSH)
    (command,) = drive.asked
    assert isinstance(command, Command)
    assert command.text.startswith("fetch org/repo: refs/heads/main, 0000000000")
    assert command.text.endswith(" and 30 more (depth 3)")
    assert len(command.context) == 51
    facts = command.parts[0].facts
    assert isinstance(facts["wants"], tuple)
    assert len(facts["wants"]) == 50
    assert facts["depth"] == 3
    assert command.parts[0].complete


# -- texts ------------------------------------------------------------------


def masked(**plan: Any) -> Drive:
    def answers(question: Question) -> Answer:
        if isinstance(question, Result):
            assert [column.name for column in question.columns] == ["remote messages"]
            return Plan(plan.get("columns", (None,)), detect=plan.get("detect"))
        return Allow(masked=True)

    drive = greeted(2, own=find(b"hunter2"))
    drive.answers = answers
    drive.feed(CLIENT, fetch2(b"want " + A, b"done"))
    drive.feed(UPSTREAM, pkt(b"packfile\n"))
    drive.sent[CLIENT].clear()
    return drive


def test_a_secret_split_over_lines_of_text() -> None:
    secret = b"hunter2 and fred"
    for at in range(1, len(secret)):
        drive = masked(detect=find(b"fred"))
        stream = lines(2, secret[:at]) + lines(1, b"PACK") + lines(2, secret[at:] + b"\nx") + FLUSH
        drive.feed(UPSTREAM, stream, [1] * (at % 2 and len(stream)))
        want = lines(1, b"PACK") + lines(2, b"[masked] and [masked]\n") + lines(2, b"x") + FLUSH
        assert drive.sent[CLIENT] == want
        assert b"fred" not in drive.plain[UPSTREAM]
        assert b"ter2" not in drive.plain[UPSTREAM]


def test_masks_of_the_column_and_the_last_error() -> None:
    drive = masked(columns=(Mask("redact", lambda value: b"[redacted]"),))
    drive.feed(UPSTREAM, lines(2, b"hello\n") + lines(3, b"hunter2"))
    assert drive.sent[CLIENT] == lines(2, b"[redacted]\n") + lines(3, b"[redacted]")


def test_untouched_is_identical_and_passes_whole() -> None:
    drive = masked()
    stream = lines(2, b"10%\r20%\n") + lines(1, b"x" * 200_000) + lines(2, b"done\n")
    drive.feed(UPSTREAM, stream)
    assert drive.sent[CLIENT] == stream
    drive.lane.receive(UPSTREAM, lines(1, b"y" * 100))
    (span,) = drive.lane.moves()
    assert span.raw == lines(1, b"y" * 100)


def test_text_that_is_not_finished_at_the_end_of_the_stream() -> None:
    drive = masked()
    drive.feed(UPSTREAM, lines(2, b"that was hunter2"))
    drive.end(UPSTREAM)
    assert drive.sent[CLIENT] == lines(2, b"that was [masked]")


def test_errors_of_the_upstream_are_masked() -> None:
    for before in ([], [REFS]):
        drive = Drive(FetchLane(opening(0, find(b"hunter2"))))
        for raw in before:
            drive.feed(UPSTREAM, raw)
            drive.feed(CLIENT, WANT + FLUSH)
            drive.sent[CLIENT].clear()
        drive.feed(UPSTREAM, pkt(b"ERR no hunter2 here\n"), [1] * 30)
        assert drive.sent[CLIENT] == pkt(b"ERR no [masked] here\n")
        assert b"unter2" not in drive.plain[UPSTREAM]


def test_the_small_band_and_no_band() -> None:
    drive = greeted(own=find(b"hunter2"))
    drive.feed(CLIENT, pkt(b"want " + A + b" side-band\n") + FLUSH + DONE)
    with pytest.raises(WireError):
        drive.feed(UPSTREAM, pkt(b"NAK\n") + lines(1, b"P") + lines(1, b"x" * 2000))
    drive = greeted()
    drive.feed(CLIENT, pkt(b"want " + A + b"\n") + FLUSH + DONE)
    drive.sent[CLIENT].clear()
    raw = pkt(b"ACK " + A + b"\n") + b"PACK\0\0\0\2" + bytes(range(256))
    drive.feed(UPSTREAM, raw, [1] * 70)
    assert drive.sent[CLIENT] == raw


# -- what may not be --------------------------------------------------------

BAD0 = [
    pkt(b"want " + A + b" push-cert=x\n"),
    pkt(b"want " + A + b" thin-pack\n"),
    pkt(b"want " + A[:39] + b"\n"),
    pkt(b"want " + A.upper() + b"\n"),
    pkt(b"want " + b"a" * 64 + b"\n"),
    pkt(b"have " + A + b"\n"),
    pkt(b"deepen 1\n"),
    DELIM,
    b"zzzz",
    b"00_a",
    WANT + pkt(b"deepen x\n"),
    WANT + pkt(b"deepen 0\n"),
    WANT + pkt(b"deepen -1\n"),
    WANT + pkt(b"deepen 1\n") + pkt(b"deepen 2\n"),
    WANT + pkt(b"deepen-since 1\n"),
    WANT + pkt(b"filter \n"),
    WANT + pkt(b"filter a b\n"),
    WANT + pkt(b"filter a\n") + pkt(b"filter b\n"),
    WANT + pkt(b"shallow x\n"),
    WANT + pkt(b"push-cert\n"),
    WANT + pkt(b"PACK"),
    WANT + FLUSH + pkt(b"want " + A),
    WANT + FLUSH + pkt(b"have x"),
    WANT + FLUSH + DONE + pkt(b"have " + A),
    FLUSH + WANT,
]


@pytest.mark.parametrize("raw", BAD0)
def test_v0_clients_that_break_the_protocol(raw: bytes) -> None:
    for sizes in ([], [1] * len(raw)):
        drive = greeted()
        with pytest.raises(WireError) as caught:
            drive.feed(CLIENT, raw, sizes)
        assert caught.value.side is CLIENT
        assert drive.lane.finished == 128
        assert b"ERR " in drive.sent[CLIENT]
        assert b"push-cert" not in drive.sent[UPSTREAM]


BAD2 = [
    pkt(b"command=object-info\n"),
    pkt(b"command=push\n"),
    pkt(b"agent=x\n"),
    DELIM,
    pkt(b"command=fetch\n") + pkt(b"agent=x\n") + DELIM,
    pkt(b"command=fetch\n") + pkt(b"server-option=x\n") + DELIM,
    pkt(b"command=fetch\n") + pkt(b"session-id=x\n") + FLUSH,
    pkt(b"command=fetch\n") + pkt(b"object-format=sha256\n") + FLUSH,
    pkt(b"command=fetch\n") + DELIM + DELIM,
    pkt(b"command=fetch\n") + b"0002",
    fetch2(b"want-ref refs/heads/main"),
    fetch2(b"wait-for-done"),
    fetch2(b"have " + A),
    fetch2(b"sideband-all"),
    fetch2(b"packfile-uris https"),
    fetch2(b"want"),
    fetch2(b"want " + A + b" x"),
    fetch2(b"deepen-not a..b"),
    pkt(b"command=ls-refs\n") + DELIM + pkt(b"want " + A) + FLUSH,
    pkt(b"command=ls-refs\n") + DELIM + pkt(b"ref-prefix a\0b") + FLUSH,
]


@pytest.mark.parametrize("raw", BAD2)
def test_v2_clients_that_break_the_protocol(raw: bytes) -> None:
    for sizes in ([], [1] * len(raw)):
        drive = greeted(2)
        with pytest.raises(WireError) as caught:
            drive.feed(CLIENT, raw, sizes)
        assert caught.value.side is CLIENT
        assert not drive.sent[UPSTREAM]
        assert not drive.asked


UP0 = [
    pkt(b"NAK\n") + pkt(b"\4x"),
    pkt(b"hello\n"),
    FLUSH,
    pkt(b"shallow " + A),
    pkt(b"ACK x\n"),
    pkt(b"NAK\n") + lines(1, b"P") + FLUSH + pkt(b"NAK\n"),
    b"PACK",
    b"0001",
]


@pytest.mark.parametrize("raw", UP0)
def test_v0_upstreams_that_break_the_protocol(raw: bytes) -> None:
    for sizes in ([], [1] * len(raw)):
        drive = greeted()
        drive.feed(CLIENT, WANT + FLUSH + DONE)
        with pytest.raises(WireError) as caught:
            drive.feed(UPSTREAM, raw, sizes)
        assert caught.value.side is UPSTREAM


UP2 = [
    pkt(b"packfile-uris\n"),
    pkt(b"x\n"),
    FLUSH,
    DELIM,
    pkt(b"acknowledgments\n") + pkt(b"x"),
    pkt(b"shallow-info\n") + FLUSH,
    pkt(b"shallow-info\n") + pkt(b"shallow x"),
    pkt(b"wanted-refs\n") + pkt(b"x y"),
    PACK2 + pkt(b"more"),
    b"0002",
]


@pytest.mark.parametrize("raw", UP2)
def test_v2_upstreams_that_break_the_protocol(raw: bytes) -> None:
    for sizes in ([], [1] * len(raw)):
        drive = greeted(2)
        drive.feed(CLIENT, fetch2(b"want " + A, b"done"))
        with pytest.raises(WireError) as caught:
            drive.feed(UPSTREAM, raw, sizes)
        assert caught.value.side is UPSTREAM


def test_an_upstream_that_speaks_before_it_is_asked() -> None:
    drive = greeted()
    with pytest.raises(WireError):
        drive.feed(UPSTREAM, pkt(b"NAK\n"))


def test_a_client_that_speaks_first_waits() -> None:
    drive = Drive(FetchLane(opening()))
    drive.feed(CLIENT, WANT + FLUSH, [1] * 100)
    assert not drive.sent[UPSTREAM]
    drive.feed(UPSTREAM, REFS)
    assert drive.sent[UPSTREAM] == WANT + FLUSH


def test_what_comes_behind_an_error_goes_nowhere() -> None:
    """The client can't know yet."""
    drive = greeted()
    drive.feed(CLIENT, WANT + FLUSH)
    drive.feed(UPSTREAM, pkt(b"ERR no such thing"))
    drive.feed(CLIENT, pkt(b"have " + A) + FLUSH + DONE)
    assert drive.sent[UPSTREAM] == WANT + FLUSH
    assert drive.lane.held == (0, 0)


@pytest.mark.parametrize("version", [0, 2])
def test_a_client_that_leaves_in_the_middle_of_a_request(version: int) -> None:
    drive = greeted(version)
    drive.feed(CLIENT, fetch2(b"want " + A)[:-6] if version else WANT)
    assert drive.lane.held[CLIENT]
    drive.end(CLIENT)
    assert drive.lane.held == (0, 0)
    assert not drive.sent[UPSTREAM]


def test_a_request_before_the_end_is_still_read() -> None:
    drive = Drive(FetchLane(opening()))
    drive.feed(CLIENT, WANT + FLUSH)
    drive.end(CLIENT)
    drive.feed(UPSTREAM, REFS)
    assert drive.sent[UPSTREAM] == WANT + FLUSH


def test_requests_are_bounded() -> None:
    drive = greeted(limit=4000)
    with pytest.raises(LimitError):
        drive.feed(CLIENT, WANT + pkt(b"want " + B) * 200, [50] * 300)
    assert drive.lane.held[CLIENT] < 4100
    # Haves are sent on line by line, and no number of them is too large.
    drive = greeted(limit=4000)
    drive.feed(CLIENT, WANT + FLUSH + pkt(b"have " + B) * 2000, [1000] * 200)
    assert len(drive.sent[UPSTREAM]) > 90_000


def test_single_bytes_while_it_waits_cost_their_number() -> None:
    drive = greeted(limit=1 << 20)
    drive.answers = lambda question: None
    drive.feed(CLIENT, WANT + FLUSH)
    begin = time.perf_counter()
    for _ in range(100_000):
        drive.lane.receive(CLIENT, b"0")
    drive.lane.moves()
    assert time.perf_counter() - begin < 3
