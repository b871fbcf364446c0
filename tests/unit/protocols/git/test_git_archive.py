from __future__ import annotations

import pytest
from git_lanes import Drive, opening
from git_pump import find

from protocols.contract import Allow, Answer, Command, Plan, Question, Refuse, Result
from protocols.errors import LimitError, WireError
from protocols.git.archive import ArchiveLane
from protocols.git.pktline import FLUSH, pkt
from protocols.git.sideband import lines
from protocols.wire import Side

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM


def request(*words: bytes) -> bytes:
    return b"".join(pkt(b"argument " + word + b"\n") for word in words) + FLUSH


def fresh(answer: Answer | None = None, **more: object) -> Drive:
    lane = ArchiveLane(opening(**more))  # type: ignore[arg-type]
    return Drive(lane, lambda question: answer or Allow())


@pytest.mark.parametrize("sizes", [[], [1] * 500])
def test_an_archive(sizes: list[int]) -> None:
    drive = fresh()
    raw = request(b"--format=tar.gz", b"--prefix=p q/", b"-9", b"-v", b"v1.0:sub", b"a dir/x")
    drive.feed(CLIENT, raw, sizes)
    (command,) = drive.asked
    assert isinstance(command, Command)
    assert command.parts[0].action == "git.archive"
    assert command.parts[0].facts["wants"] == ("v1.0:sub",)
    assert command.context[1] == "--prefix=p q/"
    assert drive.sent[UPSTREAM] == raw
    stream = pkt(b"ACK\n") + FLUSH + lines(1, b"x" * 100) + lines(2, b"hi\n") + FLUSH
    drive.feed(UPSTREAM, stream, sizes)
    drive.end(UPSTREAM)
    assert drive.sent[CLIENT] == stream
    assert drive.lane.at_rest
    with pytest.raises(WireError):
        drive.feed(UPSTREAM, b"more")


@pytest.mark.parametrize(
    "words",
    [
        (b"--exec=id", b"HEAD"),
        (b"--output=/tmp/x", b"HEAD"),
        (b"-o", b"/tmp/x", b"HEAD"),
        (b"-o/tmp/x", b"HEAD"),
        (b"--remote=ssh://x/y", b"HEAD"),
        (b"--remote", b"x", b"HEAD"),
        (b"--add-file=/etc/passwd", b"HEAD"),
        (b"--add-virtual-file=a:b", b"HEAD"),
        (b"--format=x;id", b"HEAD"),
        (b"--prefix=a\nb", b"HEAD"),
        (b"-99", b"HEAD"),
        (b"HEAD", b"--output=x"),
        (b"HEAD", b"a\0b"),
        (b"--", b"--output=x"),
        (b"HEAD^{/x}",),
        (b"@{-1}",),
        (b"",),
        (),
        (b"-v",),
    ],
)
def test_what_may_not_be_said(words: tuple[bytes, ...]) -> None:
    drive = fresh()
    with pytest.raises(WireError) as caught:
        drive.feed(CLIENT, request(*words))
    assert caught.value.side is CLIENT
    assert not drive.sent[UPSTREAM]
    assert drive.sent[CLIENT].startswith(b"00")
    assert drive.lane.finished == 128


@pytest.mark.parametrize("raw", [pkt(b"want x"), request(b"HEAD") + b"0000", b"0001", b"zzzz"])
def test_what_is_no_request(raw: bytes) -> None:
    for sizes in ([], [1] * len(raw)):
        drive = fresh()
        with pytest.raises(WireError):
            drive.feed(CLIENT, raw, sizes)


def test_bounds() -> None:
    with pytest.raises(LimitError):
        fresh().feed(CLIENT, request(*[b"a"] * 65))
    with pytest.raises(LimitError):
        fresh(limit=100).feed(CLIENT, request(b"a" * 200))


def test_a_refusal_and_a_withdrawal() -> None:
    drive = fresh(Refuse("no", rule="r1"))
    drive.feed(CLIENT, request(b"HEAD"))
    assert drive.sent[CLIENT] == pkt(b"ERR blocked by rule r1: no (session s-1)")
    assert not drive.sent[UPSTREAM]
    assert drive.lane.finished == 128


def test_texts_are_masked() -> None:
    def answers(question: Question) -> Answer:
        if isinstance(question, Result):
            return Plan((None,), detect=find(b"fred"))
        return Allow(masked=True)

    for sizes in ([], [1] * 200):
        drive = Drive(ArchiveLane(opening(own=find(b"hunter2"))), answers)
        drive.feed(CLIENT, request(b"HEAD"))
        bands = lines(2, b"hunt") + lines(1, b"TAR") + lines(2, b"er2\nfr") + lines(3, b"fred")
        drive.feed(UPSTREAM, pkt(b"ACK\n") + FLUSH + bands, sizes)
        want = lines(1, b"TAR") + lines(2, b"[masked]\n") + lines(2, b"fr") + lines(3, b"[masked]")
        assert drive.sent[CLIENT] == pkt(b"ACK\n") + FLUSH + want
        drive = Drive(ArchiveLane(opening(own=find(b"hunter2"))), answers)
        drive.feed(CLIENT, request(b"HEAD"))
        drive.feed(UPSTREAM, pkt(b"NACK hunter2 failed\n"), sizes)
        assert drive.sent[CLIENT] == pkt(b"NACK [masked] failed\n")
        assert b"unter2" not in drive.plain[UPSTREAM]


def test_an_upstream_that_speaks_first() -> None:
    drive = fresh()
    with pytest.raises(WireError) as caught:
        drive.feed(UPSTREAM, pkt(b"ACK\n"))
    assert caught.value.side is UPSTREAM
