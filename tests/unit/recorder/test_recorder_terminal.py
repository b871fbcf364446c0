"""What reaches an auditor's terminal: nothing that acts on it, whatever was recorded."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal

from protocols.ssh.frames import Kind, data, frame
from recorder.cli import main
from recorder.commands.pacing import LEAP, Back, Keyboard, Pace
from recorder.render import cell, columns, cut, one_line, padded, safe, statement

NASTY = (
    "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x07", "\x1b[6n", "\x1bP$q\"p\x1b\\", "\x1b[2J\x1b[H",
    "\x9b31m", "\x9d52;c;x\x9c", "\u202egnp.exe\u202c", "\u2066x\u2069", "\u200b\u200d\ufeff",
    "\r\n\x0b\x0c\x85\u2028\u2029", "\x00\x07\x08\x7f\x1a", "\udcff\udc9b", "\U000e0041\U000e007f",
    "\ue000\U000f0000", "a" + "\u0301" * 40, "\u3164\u115f\u2800\ufe0f", "日本語" * 50, "W" * 5000,
    "\x1b[?1049h", "\x1b_Gi=1\x1b\\", "\x05", "\x0e\x0f", "'; drop table t --",
)  # fmt: skip


_ANY = (*range(0x20, 0xD800), *range(0xE000, 0x30000))  # a recording holds no half of a pair


def quiet(text: str) -> bool:
    """Nothing but ink, blanks and line ends, and few marks upon one character."""
    stacked = 0
    for char in text:
        kind = unicodedata.category(char)
        stacked = stacked + 1 if kind in ("Mn", "Me") else 0
        if char != "\n" and (kind[0] == "C" or kind in ("Zl", "Zp") or stacked > 3):
            return False
        if char in "\u3164\u115f\u2800\ufe0f\u034f":
            return False
    return True


def some(rng: random.Random) -> str:
    return "".join(
        rng.choice((rng.choice(NASTY), chr(rng.choice(_ANY)), rng.choice("ab 1")))
        for _ in range(rng.randrange(1, 6))
    )


def pg(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def cstring(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").replace(b"\0", b"") + b"\0"


def answers(rng: random.Random) -> bytes:
    """What a hostile server says."""
    fields = b"".join(cstring(some(rng)) + bytes(18) for _ in range(2))
    value = cstring(some(rng))
    row = pg(b"D", b"\0\2" + b"\0\0\0\1x" + len(value).to_bytes(4, "big") + value)
    report = b"".join(letter + cstring(some(rng)) for letter in (b"S", b"C", b"M", b"D", b"H"))
    return b"".join((
        pg(b"T", b"\0\2" + fields), row, row, pg(b"C", cstring(some(rng))),
        pg(b"E", report + b"\0"), pg(b"N", report + b"\0"),
        pg(b"A", bytes(4) + cstring(some(rng)) + cstring(some(rng))),
        pg(b"H", b"\0\0\0"), pg(b"d", cstring(some(rng)) + b"\n"), pg(b"C", cstring(some(rng))),
        pg(b"V", len(value).to_bytes(4, "big") + value), pg(b"Z", b"I"),
    ))  # fmt: skip


def questions(rng: random.Random) -> bytes:
    startup = b"\0\3\0\0" + b"user\0" + cstring(some(rng)) + b"\0"
    return b"".join((
        (len(startup) + 4).to_bytes(4, "big") + startup, pg(b"Q", cstring(some(rng))),
        pg(b"P", b"\0" + cstring(some(rng)) + b"\0\0"), pg(b"B", b"\0\0" + bytes(6)),
        pg(b"E", bytes(5)), pg(b"d", cstring(some(rng)) + b"\n"), pg(b"f", cstring(some(rng))),
        pg(b"S", b""),
    ))  # fmt: skip


def conversation(rng: random.Random) -> tuple[bytes, bytes]:
    """What a hostile git client and server say, in frames."""

    def packet(text: bytes) -> bytes:
        return b"%04x" % (len(text) + 4) + text

    words = [some(rng).encode("utf-8", "surrogatepass") for _ in range(8)]
    client = frame(Kind.HELLO, words[0]) + frame(Kind.REFUSED, words[1])
    client += frame(Kind.EXEC, b"git-receive-pack '" + words[2] + b"'")
    client += data(
        Kind.DATA, packet(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/" + words[3] + b"\0 x")
    )
    client += data(Kind.DATA, b"0000")
    server = frame(Kind.STARTED, b"") + data(
        Kind.DATA, packet(b"1" * 40 + b" refs/" + words[4] + b"\0 y\n")
    )
    server += (
        data(Kind.DATA, b"0000")
        + frame(Kind.STDERR, words[5])
        + data(Kind.DATA, packet(b"unpack " + words[6]))
    )
    return client, server + frame(Kind.SIGNAL, words[7]) + frame(Kind.GOODBYE, words[0])


def hostile(state: Path, seed: int) -> None:
    """Sessions in which everything that a stranger chooses is nasty."""
    rng = random.Random(seed)
    journal = make_journal(state, World(), sealer=True)
    for number, protocol in enumerate(("postgres", "git-ssh", "resp", "postgres")):
        log = journal.open({**header(ULIDS[number]), "protocol": protocol, "peer": some(rng),
                            "listener": some(rng)})  # fmt: skip
        legs = Legs()
        log.event("identity", {
            "subject": some(rng), "issuer": some(rng), "kind": some(rng), "run": some(rng),
            "groups": [some(rng)], "tags": {some(rng): some(rng)}, "method": some(rng),
        })  # fmt: skip
        log.event("destination", {"target": some(rng), "database": some(rng), "user": some(rng)})
        log.event(some(rng), {some(rng): [some(rng), {some(rng): some(rng)}]})
        log.event("push", {"ref": some(rng), "repository": some(rng), "old": "0" * 40,
                           "new": "1" * 40, "update": some(rng), "commits": 1})  # fmt: skip
        log.command(1, "run", some(rng), 0, (some(rng),), some(rng), some(rng), None,
                    [some(rng), None, "21:0001"], (some(rng),), (some(rng),))  # fmt: skip
        log.command(2, "prepare", "function call oid 957", 3, (some(rng),), some(rng))
        said = conversation(rng) if protocol == "git-ssh" else (questions(rng), answers(rng))
        log.spans([legs.passed(C, said[0]), legs.passed(U, said[1])])
        log.event(
            "approval",
            {
                "id": some(rng),
                "state": some(rng),
                "approvers": [{"subject": some(rng), "reason": some(rng)}],
            },
        )
        log.event("refusal", {"kind": some(rng), "reason": some(rng)})
        if number < 3:
            log.end(("closed", "terminated")[number % 2], some(rng))
        journal.flush()
    journal.close()


COMMANDS = (
    ["list"], ["ls", "--sort", "took"], ["list", "--deleted"], ["list", "--json"],
    ["show", "{}"], ["show", "{}", "--json"], ["events", "{}"], ["events", "{}", "--bytes"],
    ["events", "{}", "--json", "--bytes"], ["play", "{}"], ["play", "{}", "--events"],
    ["play", "{}", "--rows", "0"], ["grep", "."], ["grep", ".", "--json"], ["grep", "-l", "."],
    ["tail", "{}"], ["tail"], ["tail", "--json"], ["diff", "{}", ULIDS[0]], ["verify", "--all"],
    ["verify", "{}", "--json"], ["export", "{}", "--format", "asciicast"],
    ["export", "{}", "--format", "ndjson"], ["replay", "{}", "--to", "127.0.0.1:1"],
    ["prune"], ["hold", "list"], ["cat", "{}"],
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_no_command_lets_anything_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    tell_all(tmp_path, capfd, seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(3, 60))
def test_no_command_lets_anything_through_long(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    tell_all(tmp_path, capfd, seed)


def tell_all(state: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    hostile(state, seed)
    for words in COMMANDS:
        for session in ULIDS[: 4 if "{}" in words else 1]:
            told = [word.format(session) for word in words]
            with contextlib.suppress(SystemExit):
                main(["--dir", str(state), *told])
            out, err = capfd.readouterr()
            assert "Traceback" not in err, told
            for text in (out, err):
                bad = next((line for line in text.split("\n") if not quiet(line)), None)
                assert bad is None, (told, bad)


def test_the_end_of_a_comment_is_to_be_seen() -> None:
    hidden = "select 1 -- all is\n well\r\n; drop table t"
    assert statement(hidden) == "select 1 -- all is\\nwell\\n; drop table t"
    assert statement("select 1\n  from t") == one_line("select 1\n  from t") == "select 1 from t"
    assert statement("-- x\n\x1b[2J", 8) == "-- x\\n\\…"
    # Only ASCII's white space is as good as a blank in SQL and in the names of refs.
    assert one_line("a\x85b\u2028c\x1cd\t e") == "a\\x85b\\u2028c\\x1cd e"


def test_what_is_safe_is_also_of_the_width_that_it_says() -> None:
    assert safe("a" + "\u0301" * 5) == "a" + "\u0301" * 3 + "\\u0301" * 2
    assert safe("x\u3164\ufe0f") == "x\\u3164\\ufe0f"
    assert columns("日本") == 4
    assert cut("日本語", 5) == "日本…"
    assert columns(cut("日本語", 4)) <= 4
    assert padded("é日", 5) == "é日  "
    assert cell("a\n\tb  c\r") == "a\\n\\tb  c\\r"
    assert one_line("a\n\tb  c\r") == "a b c"
    rng = random.Random(1)
    for _ in range(3000):
        text = some(rng)
        for width in (1, 7, 40):
            for made in (one_line(text, width), cell(text, width)):
                assert quiet(made)
                assert columns(made) <= width


class Scripted(Keyboard):
    """Presses ``keys`` in turn, each after having waited as long as it was let."""

    def __init__(self, keys: str) -> None:
        self.on = True
        self._keys = list(keys)
        self.waited = 0.0

    def key(self, seconds: float) -> str:
        self.waited += seconds
        return self._keys.pop(0) if self._keys else ""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Time goes as far as the keyboard waits."""
    keys = Scripted("")
    monkeypatch.setattr("recorder.commands.pacing.time.monotonic", lambda: keys.waited)
    return keys


def test_keys_leap_on_and_back(clock: Scripted) -> None:
    clock._keys = ["", "", "l"]
    pace = Pace(1.0, None, clock)
    pace.until(5 * 10**9)
    assert clock.waited == pytest.approx(0.6)
    pace.until(10 * 10**9)  # leapt over
    assert clock.waited == pytest.approx(0.6)
    pace.until(11 * 10**9)
    assert clock.waited == pytest.approx(0.6 + 0.4)
    clock._keys = ["", "h"]
    with pytest.raises(Back) as back:
        pace.until(13 * 10**9)
    assert back.value.to == pytest.approx(11.4 * 10**9 - LEAP)
    clock._keys = ["0"]
    with pytest.raises(Back) as back:
        pace.until(14 * 10**9)
    assert back.value.to == 0
    pace.restart(3 * 10**9)
    assert not pace.shows(2 * 10**9)
    began = clock.waited
    pace.until(4 * 10**9)
    assert clock.waited - began == pytest.approx(1.0)


def test_a_leap_shows_what_is_paused_before(clock: Scripted) -> None:
    clock._keys = [" ", "l"]
    pace = Pace(1.0, None, clock)
    pace.until(5 * 10**9)
    pace.until(6 * 10**9)
    assert clock.waited < 1.0


def on_terminal(state: Path, *words: str, **environment: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    full = {k: v for k, v in os.environ.items() if k not in ("PAGER", "NO_COLOR", "LESS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "--dir", str(state), *words],
        stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, start_new_session=True,
        env=full | {"TERM": "xterm", "COLUMNS": "80"} | environment,
    )  # fmt: skip
    os.close(follower)
    out = b""
    try:
        while raw := os.read(leader, 1 << 16):
            out += raw
    except OSError:
        pass
    os.close(leader)
    process.wait(30)
    return out.decode()


def test_the_pager_is_for_terminals_and_can_be_turned_off(tmp_path: Path) -> None:
    hostile(tmp_path, 1)
    pager = "sed s/^/P:/"
    told = on_terminal(tmp_path, "list", PAGER=pager)
    assert told.startswith("P:\x1b[1mSESSION")
    assert "P:" not in on_terminal(tmp_path, "list", "--no-pager", PAGER=pager)
    assert "\x1b" not in on_terminal(tmp_path, "list", PAGER=pager, NO_COLOR="1")
    assert "\x1b" not in on_terminal(tmp_path, "list", "--no-pager", TERM="dumb")
    assert on_terminal(tmp_path, "play", ULIDS[0], "--no-timing", PAGER=pager).startswith("P:")
    assert "P:" not in on_terminal(tmp_path, "play", ULIDS[0], "--speed", "1000", PAGER=pager)
    # Left early: no traceback, no complaint.
    assert on_terminal(tmp_path, "events", ULIDS[0], "--bytes", PAGER="true") == ""
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "--dir", str(tmp_path), "list"],
        capture_output=True, text=True, check=True, env=os.environ | {"PAGER": pager},
    )  # fmt: skip
    assert "P:" not in done.stdout


def test_a_table_that_is_too_wide_is_stacked_on_a_terminal(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, World(), sealer=True)
    log = journal.open(header(ULIDS[0]))
    legs = Legs()
    titles = b"".join(b"column_%d\0" % n + bytes(18) for n in range(6))
    row = b"".join((20).to_bytes(4, "big") + b"v" * 20 for _ in range(6))
    answer = pg(b"T", b"\0\6" + titles) + pg(b"D", b"\0\6" + row) + pg(b"C", b"SELECT 1\0")
    log.spans([legs.passed(C, b""), legs.passed(U, answer)])
    log.end("closed", "done")
    journal.flush()
    journal.close()
    told = on_terminal(tmp_path, "play", ULIDS[0], "--no-timing", "--no-pager")
    assert "-[ 1 ]-" in told
    assert "column_5 | vvvvv" in told
    assert max(map(len, told.splitlines())) <= 80
