"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal, play_session

from protocols.wire import Mark
from recorder.cli import main
from recorder.keys import load_public, new_pair
from recorder.reader import open_recording
from recorder.render import one_line, safe
from recorder.show_postgres import PostgresScreen

EVIL = "\x1b]52;c;ZXZpbA==\x07\u202egnp.exe\r\x9b31m"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def columns(*names: tuple[bytes, int]) -> bytes:
    body = b"".join(n + b"\0" + struct.pack(">IHIhih", 0, 0, oid, 4, -1, 0) for n, oid in names)
    return message(b"T", struct.pack(">H", len(names)) + body)


def row(*values: bytes | None) -> bytes:
    cells = [b"\xff" * 4 if v is None else struct.pack(">i", len(v)) + v for v in values]
    return message(b"D", struct.pack(">H", len(values)) + b"".join(cells))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three sessions: a whole one, one with a hostile client, one still open."""
    world = World()
    journal = make_journal(tmp_path, world, sealer=True)
    play_session(journal, ULIDS[0])
    log = journal.open({**header(ULIDS[1]), "peer": EVIL})
    legs = Legs()
    log.event("identity", {"subject": EVIL, "run": "7", "tags": {"env": "dev"}})
    log.event("destination", {"target": "other-db"})
    log.spans([legs.send(C, b"S"), legs.passed(U, message(b"R", b"\0\0\0\0"))])
    log.spans([legs.send(C, message(b"K", b"12345678"), Mark.SECRET)])
    log.command(1, "run", f"select '{EVIL}'", 0, ("all",), EVIL)
    answer = columns((b"id", 23), (EVIL.encode(), 25)) + row(b"\0\0\0\7", EVIL.encode())
    answer += row(None, "é".encode()) + message(b"C", b"SELECT 2\0")
    log.spans([legs.passed(C, b"Q"), legs.passed(U, answer)])
    log.command(2, "run", "delete from users", 3, ("no-where",), "a DELETE needs a WHERE")
    refusal = message(b"E", b"SERROR\0C42501\0Mblocked by no-where\0\0")
    log.spans([legs.take(C, b"Q"), legs.send(C, refusal)])
    log.end("terminated", f"went {EVIL}")
    journal.flush()
    journal.close()
    again = make_journal(tmp_path, world)
    play_session(again, ULIDS[2], end=False)
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, str, str]:
    code = main(["--dir", str(state), *words])
    out, err = capfd.readouterr()
    return code, out, err


def clean(text: str) -> bool:
    return all(char == "\n" or (char.isprintable() and char != "\x9b") for char in text)


def test_list(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capfd, state, "list")
    assert code == 0
    assert clean(out)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["SESSION", *ULIDS[:3]]
    assert "1B 1H" in lines[1]
    assert " open " in lines[3]
    code, out, _ = run(capfd, state, "ls", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {r["schema"] for r in rows} == {"wirewarden.session/1"}
    assert [r["status"] for r in rows] == ["closed", "terminated", "open"]
    assert rows[1]["principal"] == EVIL
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--target", "prod-db"], [0, 2]),
        (["--run", "7"], [1]),
        (["--tag", "env=prod"], [0, 2]),
        (["--principal", "ci@repo", "--status", "closed"], [0]),
        (["--denied"], [0, 1, 2]),
        (["--held"], [0, 2]),
        (["--since", "2026-09-21"], [0, 1, 2]),
        (["--until", "2026-09-21"], []),
        (["--since", "2026-09-21T14:13:21Z"], []),
        (["--protocol", "git"], []),
        (["--limit", "1"], [2]),
    ],
)
def test_filters(
    capfd: pytest.CaptureFixture[str], state: Path, words: list[str], found: list[int]
) -> None:
    _, out, _ = run(capfd, state, "list", "--json", *words)
    assert [json.loads(line)["session"] for line in out.splitlines()] == [ULIDS[n] for n in found]


def test_show_and_play_never_emit_control_bytes(
    capfd: pytest.CaptureFixture[str], state: Path
) -> None:
    for words in (["show"], ["play"], ["play", "--events"], ["events"], ["events", "--bytes"]):
        code, out, err = run(capfd, state, words[0], ULIDS[1], *words[1:])
        assert code == 0, (words, err)
        assert clean(out), words
        assert "\\x1b]52" in out
        assert "\u202e" not in out
    code, out, _ = run(capfd, state, "grep", "select")
    assert code == 0
    assert clean(out)


def test_play_shows_what_the_client_saw(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    _, out, _ = run(capfd, state, "play", ULIDS[1])
    lines = [line.strip() for line in out.splitlines()]
    assert any(line.startswith("7    | \\x1b]52;c") for line in lines)
    assert "NULL | é" in lines
    assert "SELECT 2" in lines
    assert "ERROR: 42501 blocked by no-where" in lines
    block = next(i for i, line in enumerate(lines) if "block  delete from users" in line)
    assert lines.index("SELECT 2") < block < lines.index("ERROR: 42501 blocked by no-where")


def test_play_keeps_time(
    capfd: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("recorder.commands.pacing.time.sleep", slept.append)
    run(capfd, state, "play", ULIDS[0])
    assert slept == []
    run(capfd, state, "play", ULIDS[0], "--speed", "2")
    assert 0.001 < sum(slept) < 0.01
    slept.clear()
    run(capfd, state, "play", ULIDS[0], "--speed", "1", "-i", "0.0001")
    assert max(slept) <= 0.0001


def test_cat_gives_the_very_bytes_and_names_what_is_missing(
    capfdbinary: pytest.CaptureFixture[bytes], state: Path
) -> None:
    code = main(["--dir", str(state), "cat", ULIDS[0], "--leg", "client", "--side", "in"])
    out, err = capfdbinary.readouterr()
    assert code == 3
    assert out.startswith(b"greetingQ select 1;")
    assert b"hunter2" not in out
    assert b"14 bytes at offset 8" in err
    code = main(["--dir", str(state), "cat", ULIDS[0], "--leg", "client", "--side", "out"])
    out, _ = capfdbinary.readouterr()
    assert code == 0
    assert out.endswith(b"E 42501D ssn ***-**-****")
    code = main(["--dir", str(state), "cat", ULIDS[2], "--leg", "client", "--side", "out"])
    assert code == 3


def test_cat_opens_sealed_originals(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["keys", "new", str(tmp_path / "k")]) == 0
    assert main(["keys", "new", str(tmp_path / "k")]) == 1
    other, _ = new_pair(tmp_path / "other")
    journal = make_journal(
        tmp_path, sealer=True, auditors=[load_public(tmp_path / "k" / "auditor.pub")]
    )
    play_session(journal)
    journal.close()
    words = ["--dir", str(tmp_path), "cat", ULIDS[0], "--leg", "upstream", "--side", "in"]
    capfdbinary.readouterr()
    assert main(words) == 3
    out, err = capfdbinary.readouterr()
    assert b"123-45-6789" not in out
    assert b"auditor's key" in err
    assert main([*words, "--key", str(other)]) == 6
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert b"of its auditors" in err
    assert main([*words, "--key", str(tmp_path / "k" / "auditor.key")]) == 0
    assert capfdbinary.readouterr().out.endswith(b"D ssn 123-45-6789")
    assert main([*words, "--key", str(tmp_path / "nowhere")]) == 6


def test_verify_says_what_and_where(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capfd, state, "verify", ULIDS[0], ULIDS[1])
    assert code == 0
    assert out.count("OK-UNANCHORED") == 3
    assert "not externally anchored" in out
    code, out, _ = run(capfd, state, "verify", "--all")
    assert code == 3
    path = open_recording(state, ULIDS[0]).path
    raw = bytearray(path.read_bytes())
    raw[400] ^= 4
    path.write_bytes(raw)
    code, out, _ = run(capfd, state, "verify", "--json", str(path))
    told = json.loads(out)
    assert code == 4
    assert (told["status"], told["schema"]) == ("CORRUPT", "wirewarden.verdict/1")
    assert 0 < told["offset"] <= 400
    path.write_bytes(path.read_bytes()[:500])
    code, out, _ = run(capfd, state, "verify", str(path))
    assert code == 3
    assert "INCOMPLETE at byte" in out
    assert run(capfd, state, "verify")[0] == 2
    assert run(capfd, state, "verify", "01XX")[0] == 1
    assert run(capfd, state, "list")[0] == 0
    assert run(capfd, state, "play", ULIDS[0])[0] == 3


def test_verify_says_nothing_of_recordings_when_nobody_reads_on(state: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "recorder.cli", "--dir", str(state), "verify", "--all"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_names(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    assert run(capfd, state, "show", ULIDS[1].lower())[0] == 0
    code, _, err = run(capfd, state, "show", "01K5")
    assert code == 1
    assert "the start of 3 sessions" in err
    assert run(capfd, state, "show", "../no-such-recording")[0] == 1
    path = open_recording(state, ULIDS[0]).path
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "verify", "-"],
        input=path.read_bytes(),
        capture_output=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"OK-UNANCHORED" in done.stdout


def test_grep(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capfd, state, "grep", "-l", "DELETE.*users", "-i")
    assert (code, out) == (0, f"{ULIDS[1]}\n")
    assert run(capfd, state, "grep", "never there")[0] == 1
    assert run(capfd, state, "grep", "(")[0] == 2
    assert run(capfd, state, "grep", "-F", "(")[0] == 1
    code, out, _ = run(capfd, state, "grep", "--json", "no-where", "--target", "other-db")
    told = json.loads(out)
    assert (told["session"], told["verdict"]) == (ULIDS[1], "block")


def test_events_as_json(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capfd, state, "events", ULIDS[0], "--json", "--bytes")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert rows[-1]["event"] == "end"
    assert {"bytes", "identity", "command", "approval", "end"} <= {r["event"] for r in rows}
    secret = [r for r in rows if r.get("mark") == "secret"]
    assert [r["stored"] for r in secret] == [False, False]
    _, out, _ = run(capfd, state, "events", ULIDS[0], "--kind", "approval")
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["", "list", "show", "events", "play", "cat", "verify", "grep", "keys"]
)
def test_every_command_explains_itself(capfd: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*([command] if command else []), "--help"])
    assert stopped.value.code == 0
    assert len(capfd.readouterr().out.splitlines()) > 6


def test_safe_text() -> None:
    assert safe("plain é 日本") == "plain é 日本"
    assert safe("a\x1b[2J\x00\x7f\x9b\u202e\u200b\udcff\n") == (
        "a\\x1b[2J\\x00\\x7f\\x9b\\u202e\\u200b\\xff\\x0a"
    )
    assert one_line("a \n\t b" * 3, 6) == "a ba …"


def test_the_screen_survives_any_bytes() -> None:
    import random

    rng = random.Random(5)
    good = message(b"R", b"\0\0\0\0") + columns((b"a", 23)) + row(b"1") + message(b"C", b"SELECT\0")
    for _ in range(2000):
        raw = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        screen = PostgresScreen()
        out = io.StringIO()
        for at in range(0, len(raw), 7):
            out.writelines(screen.feed(bytes(raw[at : at + 7])))
        out.writelines(screen.hidden(20))
        out.writelines(screen.finish())
        assert clean(out.getvalue())
    big = PostgresScreen()
    head = b"D" + struct.pack(">I", 500 << 20)
    assert list(big.feed(message(b"R", b"\0\0\0\0") + head)) == []
    for _ in range(500):
        assert list(big.feed(bytes(1 << 20))) == []
    assert len(big._heard._buffer) < 1 << 21
    whole = b"".join(line.encode() for line in PostgresScreen().feed(good))
    pieces = PostgresScreen()
    assert whole == b"".join(
        x.encode() for i in range(len(good)) for x in pieces.feed(good[i : i + 1])
    )
