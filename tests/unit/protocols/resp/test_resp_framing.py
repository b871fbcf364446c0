"""Requests and replies: one reading, limits, and the gateway's own secrets."""

from __future__ import annotations

import time

import pytest

from protocols.contract import Screen
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.resp.replies import Replies
from protocols.resp.requests import Requests
from protocols.wire import Mark, Move, Side


def requests(limit: int = 1 << 20) -> tuple[Requests, Outbox]:
    outbox = Outbox()
    return Requests(outbox, limit), outbox


def test_a_read_leaves_as_the_object_that_came() -> None:
    reader, outbox = requests()
    data = b"*1\r\n$4\r\nPING\r\n" * 3
    reader.push(data)
    for _ in range(3):
        assert reader.next() == [b"PING"]
        reader.allow()
    assert reader.next() is None
    reader.flush()
    (span,) = outbox.drain()
    assert span.raw is data


@pytest.mark.parametrize(
    "raw",
    [
        b"*01\r\n",
        b"*+1\r\n",
        b"*1\n$4\r\nPING\r\n",
        b"*-2\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\n\n",
        b"*1\r\n$3\r\nPING\r\n",
        b"*12345678901234567890",
        b'SET a "b c"\r\n',
        b"SET a \\x41\r\n",
        b"GET \0\r\n",
    ],
)
def test_what_redis_may_read_otherwise_is_refused(raw: bytes) -> None:
    reader, _ = requests()
    reader.push(raw)
    with pytest.raises(WireError) as caught:
        reader.next()
    assert caught.value.side is Side.CLIENT


@pytest.mark.parametrize("raw", [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"  \r\n"])
def test_empty_commands_have_no_reply(raw: bytes) -> None:
    reader, _ = requests()
    reader.push(raw)
    assert reader.next() == []


def test_single_bytes_cost_no_more_than_their_number() -> None:
    """A megabyte of one-byte words, byte by byte."""
    reader, _ = requests()
    raw = b"*140000\r\n" + b"$1\r\nx\r\n" * 140_000
    start = time.perf_counter()
    words = None
    for at in range(len(raw)):
        reader.push(raw[at : at + 1])
        words = reader.next()
    assert words is not None
    assert len(words) == 140_000
    assert time.perf_counter() - start < 15


def replies(secret: bytes = b"") -> tuple[Replies, Outbox]:
    outbox = Outbox()
    lane = Replies(outbox)

    def spans(data: bytes) -> list[tuple[int, int]]:
        out, at = [], data.find(secret)
        while at >= 0:
            out.append((at, at + len(secret)))
            at = data.find(secret, at + len(secret))
        return out

    if secret:
        lane.own = Screen(spans, len(secret))
    return lane, outbox


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
def test_own_secrets_are_starred_at_any_cut(cut: int) -> None:
    lane, outbox = replies(b"s3cret")
    raw = b"*2\r\n$8\r\nxs3crety\r\n$6\r\ns3cret\r\n+s3cret\r\n$-1\r\n"
    seen, secret = b"", b""
    for at in range(0, len(raw), cut):
        lane.receive(raw[at : at + cut])
        for span in outbox.drain():
            if span.move in (Move.PASS, Move.SEND):
                seen += span.raw
            if span.mark is Mark.SECRET:
                secret += span.raw
    assert seen == raw.replace(b"s3cret", b"******")
    assert secret == b"s3cret" * 3
    assert lane.between
    assert len(lane) == 0


def test_a_large_value_streams() -> None:
    lane, outbox = replies()
    lane.due = 1
    lane.receive(b"$1000000\r\n" + b"x" * 999)
    assert len(outbox.drain()[0].raw) == 10 + 999
    assert len(lane) == 0
    lane.receive(b"x" * 999_001 + b"\r\n")
    assert (lane.due, lane.between) == (0, True)


def test_attributes_and_pushes_are_no_replies() -> None:
    lane, _ = replies()
    lane.due = 2
    lane.receive(b"|1\r\n+ttl\r\n:9\r\n")
    lane.receive(b">2\r\n+message\r\n*0\r\n")
    assert lane.due == 2
    lane.receive(b"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n%1\r\n+k\r\n_\r\n")
    assert (lane.due, lane.between) == (1, True)


@pytest.mark.parametrize(
    "raw", [b"x", b"$x\r\n", b"*-2\r\n", b"$2\r\nabc\r\n", b"*2\r\n>1\r\n+a\r\n", b"$?\r\n"]
)
def test_broken_replies(raw: bytes) -> None:
    lane, _ = replies()
    with pytest.raises(WireError) as caught:
        lane.receive(raw)
    assert caught.value.side is Side.UPSTREAM


def test_nesting_and_lines_are_bounded() -> None:
    for raw in (b"*1\r\n" * 200, b"-" + b"x" * 70_000):
        lane, _ = replies()
        with pytest.raises(LimitError):
            lane.receive(raw)


def test_only_the_word_of_a_refusal_is_replaced() -> None:
    lane, outbox = replies()
    lane.refuse(b"wirewarden_1", b"-NOPERM no\r\n")
    lane.receive(b"-ERR wirewarden_2\r\n*1\r\n-ERR wirewarden_1\r\n-ERR wirewarden_1\r\n")
    sent = [span.raw for span in outbox.drain() if span.move is Move.SEND]
    assert sent == [b"-NOPERM no\r\n"]
