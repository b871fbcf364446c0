"""Row 96: a recording made to hurt its reader: the recorder's commands end with an exit
code of their own, in little time and memory, and print nothing that acts on a terminal.

Goes red when ``one_line`` passes control characters on.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from audit import wait_sealed
from stack import Stack
from wire import enter

from recorder.reader import every_log

TRICK = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b1m\u202e\u200b\r\b"


@pytest.fixture(scope="module")
def log(anything: Stack) -> bytes:
    before = set(every_log(anything.state))
    with enter(anything, application_name=TRICK) as wire:
        wire.ask(f"SELECT '{TRICK}' AS \"{TRICK}\"")
        wire.ask(f"/* {TRICK} */ SELEC")
        wire.ask("SELECT repeat('x', 10000)")
    wait_sealed(anything)
    new = sorted(set(every_log(anything.state)) - before)
    assert new
    return new[-1].read_bytes()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["prlimit", "--as=2000000000", sys.executable, "-m", "recorder.cli", *map(str, arguments)],
        capture_output=True, timeout=20, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


COMMANDS = [("show",), ("events",), ("events", "--json"), ("play", "--speed", "max"), ("verify",)]


def inert(out: bytes) -> None:
    for character in out.decode("utf-8", "backslashreplace"):
        if character not in "\n\t":
            assert unicodedata.category(character) not in ("Cc", "Cf", "Co", "Zl", "Zp"), (
                f"U+{ord(character):04X} reaches the terminal"
            )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_acts_on_the_terminal(log: bytes, tmp_path: Path, command: tuple[str]) -> None:
    path = tmp_path / "x.agr"
    path.write_bytes(log)
    done = run(*command, path)
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:
        done = run(command[0], path)
        assert done.returncode == 0
    inert(done.stdout)
    inert(done.stderr)


def spoilt(log: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    raw = bytearray(log)
    match seed % 8:
        case 0:
            del raw[rng.randrange(len(raw)) :]
        case 1:
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        case 2:
            at = rng.randrange(len(raw))
            raw[at : at + 16] = rng.randbytes(16)
        case 3:
            at, size = rng.randrange(len(raw)), rng.randrange(1, 200)
            raw[at:at] = rng.randbytes(size)
        case 4:
            at = rng.randrange(len(raw))
            del raw[at : at + rng.randrange(1, 200)]
        case 5:
            at = rng.randrange(len(raw))
            raw += raw[at:]
        case 6:
            at = rng.randrange(len(raw))
            raw[at : at + 4] = b"\xff\xff\xff\xff"
        case _:
            raw = bytearray(rng.randbytes(rng.randrange(1, 5000)))
    return bytes(raw)


@pytest.mark.parametrize("seed", range(16))
def test_spoilt(log: bytes, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "x.agr"
    path.write_bytes(spoilt(log, seed))
    command = COMMANDS[seed % 3][0]
    for done in (run("verify", path), run(command, path)):
        assert done.returncode in (1, 3, 4) or (command != "verify" and done.returncode == 0)
        assert b"Traceback" not in done.stderr, done.stderr
        inert(done.stdout)
        inert(done.stderr)
    assert run("verify", path).returncode != 0, "damage is never good"


BOMBS = {
    "array of 4 G": b"\xdd\xff\xff\xff\xff",
    "map of 4 G": b"\xdf\xff\xff\xff\xff",
    "text of 4 G": b"\xdb\xff\xff\xff\xff",
    "bytes of 4 G": b"\xc6\xff\xff\xff\xff",
    "deep": b"\x91" * 200_000,
    "extension": b"\xc7\x05\x01hello",
    "timestamp": b"\xd6\xff\0\0\0\0",
    "key of a list": b"\x81\x91\x01\x01",
    "zeros": bytes(1000),
    "nothing": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(log: bytes, tmp_path: Path, name: str) -> None:
    """As a whole file, and in the place of the records behind the header."""
    path = tmp_path / "x.agr"
    for raw in (BOMBS[name], log[:200] + BOMBS[name]):
        path.write_bytes(raw)
        done = run("events", path)
        assert done.returncode in (1, 3, 4), done
        assert b"Traceback" not in done.stderr
        inert(done.stderr)


@pytest.mark.parametrize("what", ["folder", "fifo", "device", "missing", "name"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.agr"
    if what == "folder":
        path.mkdir()
    elif what == "device":
        path = Path("/dev/null")
    elif what == "name":
        path = tmp_path / "\x1b[2J.agr"
    elif what == "fifo":
        pytest.skip("a reader waits at a FIFO as any program does")
    done = run("verify", path)
    assert done.returncode in (1, 2, 3, 4)
    assert b"Traceback" not in done.stderr
    inert(done.stderr)
