"""Row 94: a cut, swapped, spliced, removed or rolled back recording of a real gateway is
never good, and the place is told.

Goes red when verify does not ask the ledger (the removed session, the swap of whole
Logs), or when the Log's chain does not cover the order of its records.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audit import wait_sealed
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from stack import Stack
from wire import Wire, query

from recorder.reader import every_log


def upstream(call: Call) -> None:
    while (message := call.message()) is not None and message[0] != "X":
        call.say(columns("x"), data(b"y" * 3000), complete("SELECT 1"), READY)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """A stopped gateway that recorded three sessions, and its state as it was
    after the first."""
    folder = tmp_path_factory.mktemp("gateway")
    mock = MockUpstream(upstream)
    stack = Stack(folder, mock, target=NO_PASSWORD)
    early = tmp_path_factory.mktemp("early") / "state"
    try:
        for turn in range(3):
            stack.start()
            with Wire(stack.port) as wire:
                wire.login(stack.token(), {"user": "agent", "database": "postgres"})
                for number in range(40):
                    wire.send(query(f"SELECT {number} -- {'x' * 500}"))
                    assert wire.until().status
            wait_sealed(stack)
            stack.stop()
            if turn == 0:
                shutil.copytree(stack.state, early)
        yield stack, early
    finally:
        stack.stop()
        mock.close()


class Trial:
    """A copy of the state, to be altered."""

    def __init__(self, stack: Stack, state: Path) -> None:
        self.state = shutil.copytree(stack.state, state)
        self.stack = stack
        self.logs = list(every_log(self.state))

    def verify(self) -> tuple[int, dict[str, Any]]:
        done = self.stack.recorder("--dir", str(self.state), "verify", "--all", "--log", "--json")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, {item["session"] or item["name"]: item for item in found}


@pytest.fixture
def trial(recorded: tuple[Stack, Path], tmp_path: Path) -> Trial:
    return Trial(recorded[0], tmp_path / "state")


def test_as_it_was(trial: Trial) -> None:
    code, found = trial.verify()
    assert code == 0, found
    assert len(found) == 4


@pytest.mark.parametrize("cut", [1, 17, 400, 3000])
def test_the_last_bytes_are_cut_off(trial: Trial, cut: int) -> None:
    path = trial.logs[1]
    raw = path.read_bytes()
    path.write_bytes(raw[: max(40, len(raw) - cut)])
    code, found = trial.verify()
    assert code == 4
    assert found[path.stem]["status"] == "TAMPERED"
    assert found[path.stem]["offset"] is not None


def test_a_flipped_bit_has_its_place(trial: Trial) -> None:
    path = trial.logs[0]
    raw = bytearray(path.read_bytes())
    at = len(raw) // 2
    raw[at] ^= 4
    path.write_bytes(raw)
    code, found = trial.verify()
    assert code == 4
    assert found[path.stem]["status"] in ("CORRUPT", "TAMPERED")
    assert 0 < found[path.stem]["offset"] <= at


def test_two_logs_are_swapped(trial: Trial) -> None:
    one, two = trial.logs[0].read_bytes(), trial.logs[1].read_bytes()
    trial.logs[0].write_bytes(two)
    trial.logs[1].write_bytes(one)
    code, found = trial.verify()
    assert code == 4
    assert "TAMPERED" in {item["status"] for item in found.values()}


def test_a_session_is_removed(trial: Trial) -> None:
    trial.logs[1].unlink()
    code, found = trial.verify()
    assert code == 4
    assert found[trial.logs[1].stem]["status"] == "TAMPERED"
    assert "removed" in found[trial.logs[1].stem]["message"]


def test_a_part_of_another_session_is_spliced_in(trial: Trial) -> None:
    one, two = trial.logs[0].read_bytes(), trial.logs[1].read_bytes()
    half = len(one) // 2
    trial.logs[0].write_bytes(one[:half] + two[half:])
    code, found = trial.verify()
    assert code == 4
    assert found[trial.logs[0].stem]["status"] in ("CORRUPT", "TAMPERED")


@pytest.mark.parametrize("what", ["evidence", "sessions"])
def test_an_old_snapshot_is_restored(recorded: tuple[Stack, Path], trial: Trial, what: str) -> None:
    shutil.rmtree(trial.state / what)
    shutil.copytree(recorded[1] / what, trial.state / what)
    code, found = trial.verify()
    assert code == 4
    assert sum(item["status"] == "TAMPERED" for item in found.values()) == 2
