"""Commands that read: their exit codes on what is broken, and where they connect to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, World, header, make_journal, play_session

from recorder.cli import main
from recorder.commands import diff, target
from recorder.replay.compare import Comparer
from recorder.replay.exchanges import Exchange, exchanges
from recorder.replay.messages import Message
from recorder.replay.script import In, Out


@pytest.fixture
def log(tmp_path: Path) -> Path:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    play_session(journal, ULIDS[0])
    journal.close()
    return next(tmp_path.rglob("*.agr"))


@pytest.mark.parametrize("command", [("tail",), ("export", "--format", "asciicast"), ("play",)])
@pytest.mark.parametrize(("harm", "code"), [("none", 0), ("cut", 3), ("bit", 4)])
def test_what_is_broken_has_an_exit_code(
    log: Path, command: tuple[str, ...], harm: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = bytearray(log.read_bytes())
    if harm == "cut":
        del raw[len(raw) * 2 // 3 :]
    elif harm == "bit":
        raw[len(raw) * 2 // 3] ^= 1
    log.write_bytes(raw)
    assert main([command[0], str(log), *command[1:]]) == code
    assert capfd.readouterr().out


@pytest.mark.parametrize("durability", ["disk", "os"])
def test_tail_shows_what_is_on_the_disk(
    tmp_path: Path,
    durability: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    journal = make_journal(tmp_path, World())
    log = journal.open({**header(), "durability": durability})
    log.command(1, "run", "select 1", 0, (), "", "p")
    journal.flush()
    synced: list[int] = []

    def fdatasync(fd: int) -> None:
        assert not capfd.readouterr().out, "it was shown before"
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    assert main(["--dir", str(tmp_path), "tail"]) == 0
    assert "select 1" in capfd.readouterr().out
    segment = next(tmp_path.rglob("*.agj")).parent / "00000001.agj"
    assert (segment.stat().st_ino in synced) == (durability == "disk")
    monkeypatch.undo()
    journal.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """A name server that says something else each time."""
    said = iter(answers)

    def getaddrinfo(_: str, port: int, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, port)) for at in next(said)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_what_was_looked_up_is_what_is_connected_to(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1"])
    place = target.look_up("two-faced.test", server.getsockname()[1])
    assert place.near
    for _ in range(2):  # the session, and a cancel request of it
        with place.connect() as sock:
            assert sock.getpeername() == server.getsockname()


def test_one_address_elsewhere_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["127.0.0.1", "192.0.2.1"], ["0.0.0.0"], ["127.8.0.1"])
    assert not target.look_up("mixed.test", 5432).near
    assert not target.look_up("any.test", 5432).near
    assert target.look_up("own.test", 5432).near


def test_another_address_is_tried(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    with target.look_up("both.test", server.getsockname()[1]).connect() as sock:
        assert sock.getpeername() == server.getsockname()


def test_raw_bytes_do_not_go_to_a_terminal(
    log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["cat", str(log), "--leg", "client", "--side", "in"]
    main(words)
    assert "Q select 1;" in capfd.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert not out
    assert "redirect" in err
    main([*words, "--raw"])
    assert "Q select 1;" in capfd.readouterr().out


def test_diff_of_a_session_without_an_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = make_journal(tmp_path, World(), sealer=True)
    play_session(journal, ULIDS[0])
    journal.close()
    again = make_journal(tmp_path, World())
    play_session(again, ULIDS[1], end=False)
    words = ["--dir", str(tmp_path), "diff"]
    assert main([*words, ULIDS[0], ULIDS[0]]) == 0
    assert main([*words, ULIDS[0], ULIDS[1]]) == 3
    assert "may have been more" in capfd.readouterr().err
    again.close()


def test_diff_holds_digests_of_rows_that_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(*values: bytes) -> list[Exchange]:
        raw = [b"D" + (len(v) + 10).to_bytes(4, "big") + b"\0\1" + len(v).to_bytes(4, "big") + v
               for v in values]  # fmt: skip
        steps = [In(n, Message(0x44, each, len(each))) for n, each in enumerate(raw)]
        asked = Message(0x51, b"Q\0\0\0\6x\0", 7)
        done = Message(0x5A, b"Z\0\0\0\5I", 6)
        return exchanges(diff._light([Out(0, asked), *steps, In(9, done)]))

    def told(a: list[Exchange], b: list[Exchange]) -> list[dict[str, Any]]:
        return list(diff._answers(a, b, Comparer()))

    long = b"y" * 1000
    whole = told(rows(b"a", long), rows(b"b", long + b"!"))
    assert (whole[0]["field"], whole[0]["a"]) == ("DataRow value 1", "a")
    monkeypatch.setattr(diff, "HELD", 500)
    now = told(rows(b"a", long), rows(b"b", long + b"!"))
    assert now[0] == whole[0]
    assert now[1]["field"] == "DataRow value 1"
    assert now[1]["a"].startswith("1011 bytes, SHA-256 ")
    assert not told(rows(b"a", long), rows(b"a", long))
    assert sum(len(m.raw) for e in rows(b"a", long) for _, m in e.steps) < 200


def test_tail_of_a_session_that_is_deleted_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = make_journal(tmp_path, World())
    play_session(journal, ULIDS[0], end=False)
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        for path in tmp_path.rglob("*.agj"):
            path.unlink()

    monkeypatch.setattr("time.sleep", sleep)
    assert main(["--dir", str(tmp_path), "tail", "-f", ULIDS[0]]) == 1
    assert looks > 5, "a session that is being sealed is in neither place for a moment"
    assert "is gone" in capfd.readouterr().err
