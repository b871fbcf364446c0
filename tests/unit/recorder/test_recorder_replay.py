"""The replay's comparison, without sockets; and what it does with servers that misbehave."""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from recorder.commands.driving import Line, Pace, drive, hold
from recorder.replay import engine
from recorder.replay.compare import DEFAULT, MASKS, Comparer
from recorder.replay.engine import Replay
from recorder.replay.messages import WITHHELD, Framer, Message
from recorder.replay.report import Item, Status
from recorder.replay.script import In, Out, Step


def m(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def row(text: bytes) -> bytes:
    return m(b"D", b"\0\1" + len(text).to_bytes(4, "big") + text)


def titles(name: bytes = b"v", oid: int = 25) -> bytes:
    return m(b"T", b"\0\1" + name + b"\0" + struct.pack(">IHIhih", 0, 0, oid, -1, -1, 0))


READY, DONE = m(b"Z", b"I"), m(b"C", b"SELECT 1\0")
ASK = m(b"Q", b"SELECT v FROM t\0")


def asks(*raws: bytes) -> Iterator[Step]:
    for raw in raws:
        yield from (Out(0, message) for message in Framer().feed(raw, len(raw)))


def says(*raws: bytes | int, edited: bool = False) -> Iterator[Step]:
    """A number: so many bytes that are not on record."""
    framer = Framer()
    for raw in raws:
        if isinstance(raw, int):
            yield from (In(0, message) for message in framer.feed(None, raw))
        else:
            yield from (In(0, message) for message in framer.feed(raw, len(raw), edited))


def replayed(
    steps: list[Step], *answers: bytes, on: tuple[str, ...] = DEFAULT, learned: Replay | None = None
) -> tuple[Replay, list[Item], list[bytes]]:
    """``answers`` are given one by one, each when nothing more may be sent."""
    replay = Replay(iter(steps), Comparer(frozenset(on)))
    if learned is not None:
        replay.learned = learned.got
    sent: list[bytes] = []
    for raw in answers:
        while (send := replay.next_out()) is not None:
            sent.append(send.raw)
            replay.sent()
        replay.receive(raw)
    while (send := replay.next_out()) is not None:
        sent.append(send.raw)
        replay.sent()
    replay.finish()
    return replay, replay.items(), sent


def statuses(items: list[Item]) -> dict[str, int]:
    return dict(Counter(item.status.value for item in items))


def test_equal_and_differing_messages() -> None:
    steps = [*asks(ASK), *says(titles(), row(b"a"), row(b"b"), DONE, READY)]
    assert statuses(replayed(steps, titles() + row(b"a") + row(b"b") + DONE + READY)[1]) == {
        "equal": 5
    }
    _, items, _ = replayed(steps, titles() + row(b"a") + row(b"B") + DONE + READY)
    (bad,) = (item for item in items if item.status is Status.DIFFERS)
    assert [(d.field, d.expected, d.got) for d in bad.differences] == [("value 1 (v)", b"b", b"B")]
    assert bad.request == "SELECT v FROM t"


def test_runs_behind_masks_end_where_they_ended() -> None:
    hidden = [row(b"one"), row(b"two")]
    size = sum(map(len, hidden))
    # Two pieces that follow one another, then a row that is on record.
    steps = [*asks(ASK), *says(titles(), len(hidden[0]), len(hidden[1]), row(b"c"), DONE, READY)]
    _, items, _ = replayed(steps, titles() + b"".join(hidden) + row(b"c") + DONE + READY)
    assert statuses(items) == {"equal": 4, "not-on-record": 1}
    assert f"{size} bytes came now" in items[1].note
    # Byte by byte it is the same.
    answer = titles() + b"".join(hidden) + row(b"c") + DONE + READY
    replay = Replay(iter(steps), Comparer())
    assert replay.next_out() is not None
    replay.sent()
    for at in range(len(answer)):
        replay.receive(answer[at : at + 1])
    replay.finish()
    assert statuses(replay.items()) == {"equal": 4, "not-on-record": 1}


def test_a_run_may_hold_whole_answers() -> None:
    copy = m(b"H", b"\0\0\1\0\0") + m(b"d", b"x\n") * 500 + m(b"c")
    steps = [*asks(ASK), *says(*[len(m(b"d", b"x\n"))] * 3, len(copy) - 21, DONE, READY)]
    assert statuses(replayed(steps, copy + DONE + READY)[1]) == {"equal": 2, "not-on-record": 1}
    notice = m(b"A", bytes(4) + b"ping\0pong\0")
    steps = [*asks(ASK), *says(m(b"C", b"NOTIFY\0"), len(notice), READY)]
    answer = m(b"C", b"NOTIFY\0") + notice + READY
    assert statuses(replayed(steps, answer)[1]) == {"equal": 2, "not-on-record": 1}


def test_rows_of_another_length_are_other_rows() -> None:
    steps = [*asks(ASK), *says(titles(), len(row(b"abc")), DONE, READY)]
    _, items, _ = replayed(steps, titles() + row(b"abcd") + DONE + READY)
    (bad,) = (item for item in items if item.status is Status.DIFFERS)
    assert bad.differences[0][:3] == ("length", b"14", b"15")
    # None at all.
    _, items, _ = replayed(steps, titles() + DONE + READY)
    assert statuses(items) == {"equal": 3, "missing": 1}
    # Of an error only that it comes is known: file and line change with the version.
    error = m(b"E", b"SERROR\0Fa.c\0\0")
    steps = [*asks(ASK), *says(len(error), READY)]
    _, items, _ = replayed(steps, m(b"E", b"SERROR\0Flonger.c\0\0") + READY)
    assert statuses(items) == {"equal": 1, "not-on-record": 1}


def test_what_is_no_postgres_is_a_difference() -> None:
    steps = [*asks(ASK), *says(titles(), DONE, READY)]
    replay, items, _ = replayed(steps, titles() + b"<html>garbage")
    assert replay.over
    assert statuses(items) == {"equal": 1, "differs": 1, "server-closed": 2}
    assert "no PostgreSQL" in items[1].note


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_HELD", 10_000)
    steps = [*asks(ASK), *says(DONE, READY)]
    replay = Replay(iter(steps), Comparer())
    replay.next_out()
    replay.sent()
    for _ in range(100):
        replay.receive(row(b"x" * 1000))
        assert len(replay._now) <= 12
    assert replay.over
    assert "without an end" in replay.items()[0].note


def test_a_request_that_is_not_on_record_is_not_sent_and_its_answer_not_expected() -> None:
    def hole(raw: bytes) -> Out:
        whole = next(iter(Framer().feed(raw, len(raw))))
        return Out(0, whole._replace(holes=((8, 12),)))

    after = [*asks(ASK), *says(titles(), row(b"a"), DONE, READY)]
    steps = [hole(m(b"Q", b"ALTER ROLE x PASSWORD 'secret'\0")),
             *says(m(b"C", b"ALTER ROLE\0"), READY), *after]  # fmt: skip
    answer = titles() + row(b"a") + DONE + READY
    replay, items, sent = replayed(steps, answer)
    assert sent == [ASK]
    assert statuses(items) == {"not-on-record": 1, "equal": 4}
    assert replay.tally.not_sent == 1
    # In a batch, the Sync alone is sent.
    bind, execute, sync = m(b"B", b"\0\0" + bytes(6)), m(b"E", bytes(5)), m(b"S")
    steps = [hole(m(b"P", b"\0ALTER ROLE x PASSWORD 'secret'\0\0\0")), *asks(bind, execute, sync),
             *says(m(b"1"), m(b"2"), m(b"C", b"ALTER ROLE\0"), READY), *after]  # fmt: skip
    replay, items, sent = replayed(steps, READY, answer)
    assert sent == [sync, ASK]
    assert statuses(items) == {"not-on-record": 4, "equal": 5}
    assert not replay.tally.different


def test_what_another_run_changes_is_learned() -> None:
    steps = [*asks(ASK), *says(titles(), row(b"1"), row(b"x"), DONE, READY)]
    first, _, _ = replayed(steps, titles() + row(b"2") + row(b"y") + DONE + READY)
    # The first row is another each time; the second is another than then, for good.
    _, items, _ = replayed(steps, titles() + row(b"3") + row(b"y") + DONE + READY, learned=first)
    assert statuses(items) == {"equal": 3, "normalised": 1, "differs": 1}
    (told,) = (item for item in items if item.status is Status.NORMALISED)
    assert told.normalisers == ("learned",)


def test_masks_are_taken_for_equal_only_where_they_stood() -> None:
    error = m(b"E", b"SERROR\0C42501\0Mno\0\0")
    steps = [*asks(ASK), *says(titles()), *says(row(b"***"), edited=True), *says(row(b"b")),
             *says(DONE, READY), *asks(ASK), *says(error, READY)]  # fmt: skip
    answers = titles() + row(b"Ada") + row(b"b") + DONE + READY, error + READY
    assert statuses(replayed(steps, *answers)[1]) == {"equal": 6, "differs": 1}
    on = (*DEFAULT, MASKS)
    _, items, _ = replayed(steps, *answers, on=on)
    assert statuses(items) == {"equal": 6, "normalised": 1}
    _, items, _ = replayed(
        steps, titles() + row(b"Ada") + row(b"B") + DONE + READY, answers[1], on=on
    )
    assert statuses(items)["differs"] == 1


def test_the_gateways_own_numbers_are_normalised() -> None:
    def refusal(session: bytes, approval: bytes) -> bytes:
        return m(b"E", b"SERROR\0Mblocked: approval " + approval + b" is expired\0DGateway session "
                 + session + b".\0\0")  # fmt: skip

    steps = [*asks(ASK), *says(refusal(b"01M83TXBH12AG10CM2QNQWZW4X", b"AP-1"), READY)]
    _, items, _ = replayed(steps, refusal(b"01M83WP9EBV213WT3KJPC5S758", b"AP-22") + READY)
    assert items[0].status is Status.NORMALISED
    assert items[0].normalisers == ("gateway-session",)
    _, items, _ = replayed(steps, refusal(b"01M83WP9EBV213WT3KJPC5S75", b"AP-22") + READY)
    assert items[0].status is Status.DIFFERS


# -- servers that misbehave ------------------------------------------------


class _Entry:
    rest = b""
    key = b""


def driven(serve: Callable[[socket.socket], None], timeout: float = 0.6) -> list[Item]:
    """A replay of two requests against ``serve``, which plays the server."""
    answer = [titles(), row(b"a"), DONE, READY]
    steps = [*asks(ASK), *says(*answer), *asks(ASK), *says(*answer)]
    ours, theirs = socket.socketpair()
    replay = Replay(iter(steps), Comparer())
    thread = threading.Thread(target=_quietly, args=(serve, theirs), daemon=True)
    thread.start()
    line = Line(ours, ("127.0.0.1", 1), None, _Entry())  # type: ignore[arg-type]
    items: list[Item] = []
    began = time.monotonic()
    with ours:
        drive(line, replay, Pace(0.0, False), timeout, lambda: items.extend(replay.items()))
    assert time.monotonic() - began < 10
    thread.join(5)
    assert replay.tally.different
    return items


def _quietly(serve: Callable[[socket.socket], None], sock: socket.socket) -> None:
    try:
        serve(sock)
    except OSError:
        pass
    finally:
        sock.close()


GOOD = titles() + row(b"a") + DONE + READY


def test_a_server_that_hangs() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(GOOD)
        while sock.recv(1000):
            pass

    assert statuses(driven(serve)) == {"equal": 4, "timeout": 1, "missing": 3}


def test_a_server_that_hangs_up() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(GOOD + titles()[:-3])

    assert statuses(driven(serve)) == {"equal": 4, "server-closed": 4}


def test_a_server_that_never_stops() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1000)
        while True:
            sock.sendall(row(b"more"))
            time.sleep(0.02)

    found = statuses(driven(serve))
    assert found["timeout"] == 1
    assert "equal" not in found


def test_a_server_that_speaks_something_else() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.recv(1000)

    found = driven(serve)
    assert "no PostgreSQL" in found[0].note


def test_descriptors_may_be_many() -> None:
    ours, theirs = socket.socketpair()
    try:
        high = fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD, 1100)
    except OSError:
        pytest.skip("no descriptor above 1023 is to be had here")
    with ours, theirs, socket.socket(fileno=high) as far:
        assert hold(far, True, 0.0) == (False, True)
        theirs.sendall(b"x")
        assert hold(far, False, 1.0) == (True, False)
        theirs.close()
        assert hold(far, False, 1.0)[0]


def test_withheld_kinds_are_what_the_framer_says() -> None:
    (hidden,) = Framer().feed(None, 9)
    assert hidden == Message(WITHHELD, b"", 9)
    framer = Framer()
    assert list(framer.feed(ASK[:6], 6)) == []
    list(framer.feed(None, 4))
    (message,) = framer.feed(ASK[10:], len(ASK) - 10)
    assert message.holes == ((6, 10),)
