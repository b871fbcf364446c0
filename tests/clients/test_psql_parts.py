"""A long session of psql is cut in parts while it runs, and is one session all the same."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from audit import HOPS, Tapped, _differs
from stack import Stack

from recorder import verify
from recorder.parted import PartedLog, files_of
from recorder.reader import every_log, open_recording
from recorder.segment import segment_numbers
from recorder.streams import Streams

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("psql")]


@contextmanager
def talking(gate: Stack) -> Iterator[tuple[IO[str], IO[str]]]:
    """One psql that reads what it is to ask from a pipe."""
    with subprocess.Popen(
        ["psql", "-X", "-A", "-t", "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=gate.environment(),
    ) as psql:  # fmt: skip
        assert psql.stdin is not None
        assert psql.stdout is not None
        yield psql.stdin, psql.stdout
        psql.stdin.close()
        psql.stdout.read()
        assert psql.wait(20) == 0


def ask(pipes: tuple[IO[str], IO[str]], kib: int, letter: str) -> None:
    """Have ``kib`` KiB sent, in rows of about one."""
    pipes[0].write(f"SELECT repeat('{letter}', 1000) FROM generate_series(1, {kib});\n")
    pipes[0].flush()
    for _ in range(kib):
        assert pipes[1].readline() == letter * 1000 + "\n"


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def log_of_one(state: Path) -> list[Path]:
    found = list(every_log(state))
    return files_of(found[0]) if len(found) == 1 else []


def check(gate: Tapped) -> None:
    """What is on record of the one session is what the witnesses saw so far."""
    (row,) = gate.sessions()
    recording = open_recording(gate.state, row["session"])
    assert gate.client_tap is not None
    seen = {"client": gate.client_tap.wires[0], "upstream": gate.upstream_tap.wires[0]}
    for name, hop in HOPS.items():
        leg = name.split()[0]
        to_upstream = (leg == "client") == hop.arrives
        wire = seen[leg]
        raw = wire.to_upstream if to_upstream else wire.to_client
        difference = _differs(list(Streams(recording).pieces(hop)), raw)
        assert not difference, (name, difference)
    recording.close()


def one_session(gate: Stack, kib: int, times: int) -> None:
    assert isinstance(gate, Tapped)
    with talking(gate) as pipes:
        for letter in "abcdefghij"[:times]:
            ask(pipes, kib, letter)
        until(lambda: len(log_of_one(gate.state)) > 3)
        (row,) = gate.sessions()
        assert row["status"] == "open"
        assert gate.recorder("verify", row["session"]).returncode == 3
        check(gate)
        assert gate.recorder("grep", "repeat\\('a'").stdout.count("repeat('a'") == 1
        ask(pipes, kib, "z")
    until(lambda: gate.sessions()[0]["status"] == "closed")
    check(gate)
    recording = open_recording(gate.state, row["session"])
    end = time.monotonic() + 30
    while not isinstance(recording, PartedLog):  # its last part may be in the journal still
        assert time.monotonic() < end
        time.sleep(0.1)
        recording.close()
        recording = open_recording(gate.state, row["session"])
    assert verify.verify(recording).status == verify.OK
    assert len(recording.roots) > 4


def test_a_session_in_parts_is_what_the_witnesses_saw(
    gateways: Callable[..., Stack], tool: Callable[[str], str]
) -> None:
    tool("psql")
    one_session(gateways(recording='part_size = "64KiB"'), 60, 10)


def test_a_session_goes_on_in_parts_as_time_goes_by(
    gateways: Callable[..., Stack], tool: Callable[[str], str]
) -> None:
    """Though it says nothing any more, what it said is vouched for."""
    tool("psql")
    gate = gateways(recording='part_time = "1s"')
    with talking(gate) as pipes:
        ask(pipes, 5, "a")
        until(lambda: log_of_one(gate.state))
        (row,) = gate.sessions()
        assert row["status"] == "open"


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_segments_are_freed_while_a_session_runs(
    gateways: Callable[..., Stack], tool: Callable[[str], str]
) -> None:
    tool("psql")
    gate = gateways()
    with talking(gate) as pipes:
        for letter in "abc":
            ask(pipes, 50_000, letter)
        journal = gate.state / "journal" / "0"
        until(lambda: len(log_of_one(gate.state)) > 15)
        assert segment_numbers(journal)[-1] > 2
        until(lambda: len(segment_numbers(journal)) <= 2)
        (row,) = gate.sessions()
        assert row["status"] == "open"
        assert isinstance(gate, Tapped)
        check(gate)
