"""recorder play with keys, tail -f and diff, on sessions of a real gateway."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from audit import wait_sealed
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("replay")]


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack]) -> Stack:
    stack: Stack = gateways(Stack)
    return stack


def session(gate: Stack, *texts: str, pause: float = 0.0) -> str:
    with gate.connect("shop") as c:
        for text in texts:
            c.execute(text)
            time.sleep(pause)
    wait_sealed(gate)
    return str(max(row["session"] for row in gate.sessions()))


class Watcher:
    """recorder play on a terminal of its own."""

    def __init__(self, gate: Stack, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recorder.cli", "play", *arguments],
            stdin=slave, stdout=slave, stderr=slave,
            env=os.environ | {"WIREWARDEN_STATE": str(gate.state), "NO_COLOR": "1"},
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, text: str, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.master, 4096).decode()
                except OSError:
                    assert text in self.text, self.text
                    return

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> int:
        code = self.process.wait(10)
        os.close(self.master)
        return code


def test_keys(gate: Stack) -> None:
    name = session(gate, "SELECT 111", "SELECT 222", "SELECT 333", pause=1.5)
    watcher = Watcher(gate, name, "--speed", "0.1")  # 45 seconds, if nobody presses a key
    watcher.until(name[:10])
    watcher.press("]")
    watcher.until("SELECT 111")
    watcher.press("]")
    watcher.until("SELECT 222")
    watcher.press(" ")
    time.sleep(0.4)
    assert "SELECT 333" not in watcher.text
    watcher.press("]")
    watcher.until("SELECT 333")
    for _ in range(12):
        watcher.press(">")
    watcher.until("closed")
    assert watcher.close() == 0
    watcher = Watcher(gate, name, "--step")
    watcher.until(name[:10])
    time.sleep(0.3)
    assert "SELECT 111" not in watcher.text
    watcher.press("q")
    watcher.until("(left)")
    assert watcher.close() == 0


def test_play_from_a_moment(gate: Stack) -> None:
    name = session(gate, "SELECT 111", "SELECT 222", pause=1.0)
    done = gate.recorder("play", f"{name}@0.9")
    assert done.returncode == 0, done.stderr
    assert "SELECT 222" in done.stdout
    assert "SELECT 111" not in done.stdout


def test_tail_follows_what_is_on_record(gate: Stack) -> None:
    with gate.connect("shop") as c:
        c.execute("SELECT 'before'")
        open_one = next(row["session"] for row in gate.sessions() if row["status"] == "open")
        process = subprocess.Popen(
            [sys.executable, "-m", "recorder.cli", "tail", "-f", open_one, "--json"],
            stdout=subprocess.PIPE, text=True,
            env=os.environ | {"WIREWARDEN_STATE": str(gate.state)},
        )  # fmt: skip
        time.sleep(1)
        c.execute("SELECT 'while it is watched'")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    told: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    texts = [v["text"] for v in told if v["event"] == "command"]
    assert texts == ["SELECT 'before'", "SELECT 'while it is watched'"]
    assert told[-1]["event"] == "end"


def test_tail_of_all_tells_of_sessions_too_short_to_be_seen_open(gate: Stack) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "tail", "-f", "--json"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"WIREWARDEN_STATE": str(gate.state)},
    )  # fmt: skip
    try:
        time.sleep(1.5)
        texts = [f"SELECT 'short {n}'" for n in range(8)]
        for text in texts:
            with gate.connect("shop") as c:
                c.execute(text)
        wait_sealed(gate)
        time.sleep(1)
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    told: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [v["text"] for v in told if v["event"] == "command"] == texts  # each once
    assert len([v for v in told if v["event"] == "end"]) == len(texts)


def test_diff(gate: Stack, direct: Any) -> None:
    texts = ("SELECT id, status FROM orders WHERE id = 3", "SELECT 1")
    one, two = session(gate, *texts), session(gate, *texts)
    same = gate.recorder("diff", one, two)
    assert (same.returncode, same.stdout) == (0, "no difference\n")
    direct.execute("UPDATE orders SET status = 'changed' WHERE id = 3")
    try:
        three = session(gate, *texts, "SELECT 2")
    finally:
        direct.execute("UPDATE orders SET status = 'open' WHERE id = 3")
    done = gate.recorder("diff", one, three, "--json")
    assert done.returncode == 5, done.stderr
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(v["what"], v["text"]) for v in items] == [
        ("only-b", "SELECT 2"), ("answer", texts[0]),
    ]  # fmt: skip
    assert (items[1]["a"], items[1]["b"]) == ("open", "changed")
    assert "(status)" in items[1]["field"]
