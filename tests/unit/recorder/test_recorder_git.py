"""Recorded git sessions: what cat, show, play, grep and list make of them."""

from __future__ import annotations

import json
import random
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorder_git_world import Chunk, GitSession, Repositories, stream_of
from recorder_world import ULIDS, C, U, make_journal, play_session

from gateway.policy.verdicts import Verdict
from protocols.git.pktline import FLUSH, pkt
from protocols.git.sideband import lines as banded
from protocols.ssh.frames import Frames, Kind, frame
from protocols.wire import Mark, Move, Span
from recorder import verify
from recorder.cli import main
from recorder.git_lines import Cut, PacketReader, TextReader
from recorder.reader import open_recording
from recorder.ssh_parts import FrameParts
from recorder.ssh_streams import stream
from recorder.streams import Hop, Piece, Streams

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

PUSH = "git-receive-pack 'org/repo.git'"
FETCH = "git-upload-pack 'org/repo.git'"
CLIENT_WAIT = b"waiting for approval AP-3 from leads \x1b[31m(force-push)\n"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    return Repositories(tmp_path_factory.mktemp("git"))


def cat(
    capfdbinary: pytest.CaptureFixture[bytes], state: Path, *words: str
) -> tuple[int, bytes, bytes]:
    code = main(["--dir", str(state), "cat", *words])
    out, err = capfdbinary.readouterr()
    return code, out, err


def run(capfd: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, str]:
    code = main(["--dir", str(state), *words])
    out, _ = capfd.readouterr()
    assert all(char == "\n" or (char.isprintable() and char != "\x9b") for char in out), out
    return code, out


def forced(repositories: Repositories) -> tuple[list[Chunk], str, str]:
    """A force-push that loses one commit and adds one."""
    old = repositories.at("rev-parse", "main").strip()
    repositories.at("reset", "-q", "--hard", "HEAD~1")
    new = repositories.commit(f"other {old}")
    chunks = repositories.captured(
        "-C", str(repositories.work), "push", "-o", "ci.skip", "-f", "URL", "main"
    )
    assert repositories.git("-C", str(repositories.bare), "rev-parse", "main").strip() == new
    return chunks, old, new


def write_push(
    session: GitSession, chunks: list[Chunk], event: dict[str, object], verdict: Verdict
) -> None:
    """The session of a push that is taken, judged, and, but for a block, forwarded."""
    places = []
    done = False
    for way, raw in chunks:
        if way == "i" and raw:
            places += session.takes(raw)
        elif way == "o" and raw:
            if places and not done:
                done = True
                judge(session, event, verdict)
                if verdict is Verdict.BLOCK:
                    return
                session.forwards(places)
            session.passes(U, raw)


def judge(session: GitSession, event: dict[str, object], verdict: Verdict) -> None:
    text = f"push to org/repo: force {event['ref']}\ncommits lost:\n  evil"
    session.log.event("push", event)
    rules = {Verdict.ALLOW: ("all",), Verdict.HOLD: ("force-needs-lead",)}.get(
        verdict, ("no-force",)
    )
    session.log.command(2, "run", text, verdict, rules, "main keeps its history", "p" * 8)
    if verdict is Verdict.HOLD:
        session.says(banded(2, CLIENT_WAIT))
        approver = {"subject": "dana", "issuer": "x", "approve": True, "reason": ""}
        session.log.event("approval", {"id": "AP-3", "state": "consumed", "approvers": [approver]})
    if verdict is Verdict.BLOCK:
        session.log.event("refusal", {"kind": "policy", "reason": "main keeps its history"})
        report = pkt(b"unpack ok\n") + pkt(b"ng refs/heads/main blocked\n") + FLUSH
        session.says(banded(1, report) + FLUSH)


def event_of(old: str, new: str, **more: object) -> dict[str, object]:
    fields = {"repository": "org/repo", "ref": "refs/heads/main", "old": old, "new": new}
    return {**fields, "update": "force", "forced": True, "commits": 1, "lost": 1, **more}


def told(out: str) -> str:
    """The sentence that ``show`` prints."""
    return next(line for line in out.splitlines() if line.startswith("agent-7 "))


def test_a_held_push_reads_like_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repositories: Repositories
) -> None:
    chunks, old, new = forced(repositories)
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    write_push(session, chunks, event_of(old, new), Verdict.HOLD)
    session.ends()
    journal.close()
    code, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert code == 0
    assert told(out) == (
        f"agent-7 (run run-42) force-pushed refs/heads/main of org/repo from {old[:7]} to "
        f"{new[:7]}: 1 commit added, 1 lost (push options: ci.skip); held by rule "
        "force-needs-lead, approved by dana (AP-3); the upstream accepted it."
    )
    assert "Turned away: pty-req." in out
    assert "repository org/repo" in out
    assert "push to org/repo: force refs/heads/main" in out
    assert "evil" not in out
    _, out = run(capfd, tmp_path, "show", "--json", ULIDS[0])
    facts = json.loads(out)["git"]
    assert facts["updates"][0]["report"] == "ok"
    assert facts["pack_in"] > 100
    _, out = run(capfd, tmp_path, "play", ULIDS[0])
    shown = [line.strip() for line in out.splitlines()]
    order = [
        f"client  {PUSH}",
        "server  1 ref",
        f"client  refs/heads/main  {old[:7]}..{new[:7]}",
        "client  push option ci.skip",
        f"client  <pack: {facts['pack_in']:,} bytes>",  # counted until the server speaks
        "gateway: waiting for approval AP-3 from leads \\x1b[31m(force-push)",
        "server  unpack ok",
        "server  ok refs/heads/main",
        "server  exit 0",
    ]
    places = [shown.index(line) for line in order]
    assert places == sorted(places), out
    code, out = run(capfd, tmp_path, "grep", "AP-3 from leads")
    assert code == 0
    assert "text  gateway: waiting" in out
    code, out = run(capfd, tmp_path, "grep", "--json", "^ok refs/heads/main")
    assert json.loads(out)["event"] == "report"
    assert run(capfd, tmp_path, "grep", "PACK")[0] == 1
    code, out = run(capfd, tmp_path, "list")
    assert re.search(r"agent-7 +app-repo +org/repo +2 1H ", out)


def test_a_blocked_push_says_by_whom(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repositories: Repositories
) -> None:
    chunks, old, new = forced(repositories)
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    write_push(session, chunks, event_of(old, new, commits=2_000, lost=None), Verdict.BLOCK)
    session.ends()
    journal.close()
    _, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert told(out) == (
        f"agent-7 (run run-42) tried to force-push refs/heads/main of org/repo from {old[:7]} to "
        f"{new[:7]}: 2,000 commits added, an unknown number lost (push options: ci.skip); "
        "blocked by rule no-force: main keeps its history."
    )
    _, out = run(capfd, tmp_path, "play", ULIDS[0])
    assert "gateway  ng refs/heads/main blocked" in out


def test_a_push_that_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal = make_journal(tmp_path)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    session.log.event("push", event_of("b" * 40, "0" * 40, update="delete", commits=0, lost=1))
    session.log.command(2, "run", "push to org/repo", Verdict.HOLD, ("leads",), "", "p" * 8)
    journal.flush()
    waiting = (
        "agent-7 (run run-42) wants to delete refs/heads/main of org/repo, which was at bbbbbbb: "
        "1 commit lost; held by rule leads, waits for approval."
    )
    assert told(run(capfd, tmp_path, "show", ULIDS[0])[1]) == waiting
    session.log.end("closed", "the client left")
    journal.flush()
    journal.close()
    again = make_journal(tmp_path)
    over = waiting.replace("wants", "tried").replace("waits for approval", "nobody answered")
    assert told(run(capfd, tmp_path, "show", ULIDS[0])[1]) == over
    again.close()


def test_many_updates_and_what_the_upstream_said_of_each(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repositories: Repositories
) -> None:
    repositories.git("-C", str(repositories.bare), "config", "receive.denyDeletes", "false")
    for branch in "abc":
        repositories.at("branch", "-f", branch, "main")
    repositories.captured("-C", str(repositories.work), "push", "-f", "URL", "main", "a")
    repositories.at("tag", "-f", "v1", "main")
    repositories.git("-C", str(repositories.bare), "config", "receive.denyDeletes", "true")
    repositories.commit("more")
    chunks = repositories.captured(
        "-C", str(repositories.work), "push", "URL", "main", "b", "v1", ":a"
    )
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    session.plays(chunks)
    session.ends(1)
    journal.close()
    _, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert told(out) == "agent-7 (run run-42) pushed 4 updates to org/repo:"
    changes = [line for line in out.splitlines() if line.startswith("  ") and "refs/" in line]
    assert len(changes) == 4
    assert any("pushed refs/heads/main from " in c and "accepted" in c for c in changes), out
    assert any("created refs/tags/v1 at " in c for c in changes)
    assert any(
        "tried to delete refs/heads/a, which was at " in c
        and "the upstream rejected it: deletion prohibited" in c
        for c in changes
    )


def test_a_push_that_no_rule_saw(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    refused = "the pack is broken: object 3 \x1b[1m"
    session.log.event("push", event_of("0" * 40, "a" * 40, update="create", refused=refused))
    session.log.event("push", {"repository": "org/repo", "more": 1_999})
    session.ends(1)
    other = GitSession(journal, ULIDS[1], PUSH.encode())
    unknown = event_of("b" * 40, "a" * 40, update=None, forced=None, commits=None, lost=None)
    other.log.event("push", unknown)
    other.log.command(2, "run", "push", Verdict.HOLD, ("unsure",), "", "p" * 8)
    approver = {"subject": "dana", "approve": False, "reason": "not on a Friday"}
    other.log.event("approval", {"id": "AP-4", "state": "denied", "approvers": [approver]})
    other.log.event("refusal", {"kind": "policy", "reason": "denied by dana"})
    other.ends(1)
    journal.close()
    _, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert told(out) == (
        "agent-7 (run run-42) tried to push 2,000 updates to org/repo; "
        "refused: the pack is broken: object 3 \\x1b[1m:"
    )
    _, out = run(capfd, tmp_path, "show", ULIDS[1])
    assert told(out) == (
        "agent-7 (run run-42) tried to push refs/heads/main of org/repo from bbbbbbb to aaaaaaa "
        "(whether forced is not known); held by rule unsure, denied by dana (AP-4): "
        "not on a Friday."
    )


@pytest.mark.parametrize("version", ["0", "2"])
def test_a_fetch_names_its_refs_and_its_bytes(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    repositories: Repositories,
    version: str,
) -> None:
    into = str(tmp_path / "clone")
    chunks = repositories.captured(
        "clone", "--progress", "--depth=1", "--branch=main", "URL", into, version=version
    )
    pack = next((tmp_path / "clone" / ".git/objects/pack").glob("*.pack")).stat().st_size
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], FETCH.encode())
    session.plays(chunks)
    session.ends()
    journal.close()
    code, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert code == 0
    assert told(out) == (
        f"agent-7 (run run-42) fetched from org/repo: refs/heads/main (depth 1): {pack:,} bytes."
    )
    _, out = run(capfd, tmp_path, "play", ULIDS[0])
    assert f"server  <pack: {pack:,} bytes>" in out
    assert re.search(r"remote: Enumerating objects: \d+, done\.", out)
    assert "100%" in out
    assert re.search(r"client  want [0-9a-f]{7}", out)
    assert "client  deepen 1" in out
    code, out = run(capfd, tmp_path, "grep", "-l", "Enumerating objects")
    assert (code, out) == (0, f"{ULIDS[0]}\n")


def test_listing_and_commands_that_do_not_open(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repositories: Repositories
) -> None:
    chunks = repositories.captured("ls-remote", "URL")
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], FETCH.encode())
    session.plays(chunks)
    session.ends()
    other = GitSession(journal, ULIDS[1], b"rm -rf '\x1b[2J/'")
    other.says(b"no\n", Kind.STDERR)
    other.ends(128)
    journal.close()
    _, out = run(capfd, tmp_path, "show", ULIDS[0])
    assert re.fullmatch(
        r"agent-7 \(run run-42\) listed the refs of org/repo: \d+ refs\.", told(out)
    )
    _, out = run(capfd, tmp_path, "show", ULIDS[1])
    assert "does not open here: rm -rf '\\x1b[2J/'" in told(out)
    _, out = run(capfd, tmp_path, "play", ULIDS[1])
    assert "gateway: no" in out


def test_cat_gives_gits_own_bytes(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], repositories: Repositories
) -> None:
    chunks, old, new = forced(repositories)
    sent, got = stream_of(chunks, "i"), stream_of(chunks, "o")
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    write_push(session, chunks, event_of(old, new), Verdict.HOLD)
    session.says(b"oops\n", Kind.STDERR)
    session.ends()
    play_session(journal, ULIDS[1])
    journal.close()
    wait = banded(2, CLIENT_WAIT)
    for words, expected in {
        ("--stream", "stdin"): sent,
        ("--stream", "stdin", "--leg", "upstream"): sent,
        ("--stream", "stdin", "--leg", "client", "--side", "in"): sent,
        ("--stream", "stdout", "--leg", "upstream"): got,
        ("--stream", "stdout"): got,
        ("--stream", "stderr"): b"oops\n",
        ("--stream", "stderr", "--leg", "upstream"): b"",
    }.items():
        code, out, err = cat(capfdbinary, tmp_path, ULIDS[0], *words)
        assert code == 0, (words, err)
        assert out.replace(wait, b"") == expected, words
    for leg, side in ((C, "in"), (C, "out"), (U, "in"), (U, "out")):
        code, out, err = cat(
            capfdbinary, tmp_path, ULIDS[0], "--leg", leg.name.lower(), "--side", side
        )
        whole = session.legs.hops[leg, side == "in"]
        secret = (leg, side) in ((C, "in"), (U, "out"))
        assert code == (3 if secret else 0)
        assert len(out) == len(whole) - (13 if leg is C else 20) * secret
        assert (b"a credential" in err) is secret
    assert cat(capfdbinary, tmp_path, ULIDS[1], "--stream", "stdin")[0] == 2
    assert cat(capfdbinary, tmp_path, ULIDS[0], "--leg", "client")[0] == 2
    assert cat(capfdbinary, tmp_path, ULIDS[0])[0] == 2
    wrong = ["--stream", "stdin", "--side", "out"]
    assert cat(capfdbinary, tmp_path, ULIDS[0], *wrong)[0] == 2


def test_the_pack_is_stored_once(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    pack = b"PACK" + random.Random(3).randbytes(3 << 20)
    places = session.takes(pack)
    session.forwards(places)
    session.ends()
    journal.close()
    found = open_recording(tmp_path, ULIDS[0])
    assert found.path.stat().st_size < len(pack) * 1.01 + 10_000
    assert verify.verify(found).status == verify.OK
    pieces = stream(Streams(found), "stdin", U)
    assert b"".join(p.raw or b"" for p in pieces) == pack
    found.close()


def test_forwards_out_of_order_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recorder import arrivals

    monkeypatch.setattr(arrivals, "WINDOW", 100)
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    places = [session.takes(bytes((n,)) * 60)[0] for n in range(30)]
    for n in (29, 3, 4, 5, 2, 1, 0, 28):
        session.forwards([places[n]])
    session.ends()
    journal.close()
    found = open_recording(tmp_path, ULIDS[0])
    hop = session.legs.hops[U, False]
    out = b"".join(p.raw or b"?" * p.length for p in Streams(found).pieces(Hop(U, False)))
    assert out[-500:] == hop[-500:]
    monkeypatch.setattr(arrivals, "BACK_MAX", 1)
    pieces = list(Streams(found).pieces(Hop(U, False)))
    assert sum(p.length for p in pieces) == len(hop)
    assert any(p.why == "forwarded too far out of order" for p in pieces)
    found.close()


def test_the_format_tells_every_frame() -> None:
    text = (Path(__file__).parents[3] / "recorder" / "FORMAT.md").read_text()
    section = text[text.index("## 10.") : text.index("## 11.")]
    rows = re.findall(r"\| `([0-9a-f]{2})` `(.)` \| ([A-Z]+) \|", section)
    assert rows == [(f"{kind.value:02x}", chr(kind), kind.name) for kind in Kind]
    example = section.split("```")[-2]
    raw = bytes.fromhex("".join(line[6:53] for line in example.strip().splitlines()))
    assert Frames(C).feed(raw) == [
        (Kind.HELLO, b"git"),
        (Kind.EXEC, b"git-upload-pack 'org/repo'"),
        (Kind.DATA, b"0000"),
        (Kind.EOF, b""),
    ]


def corpus(repositories: Repositories, place: Path) -> Iterator[tuple[str, list[Chunk]]]:
    yield PUSH, forced(repositories)[0]
    yield FETCH, repositories.captured("clone", "-q", "URL", str(place / "c"))


def test_any_bytes_can_be_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repositories: Repositories
) -> None:
    rng = random.Random(11)
    good = list(corpus(repositories, tmp_path))
    journal = make_journal(tmp_path, sealer=True)
    names = [f"01K5P0M4D000000000000000{n:02d}" for n in range(60)]
    for number, name in enumerate(names):
        line, chunks = good[number % 2]
        session = GitSession(journal, name, line.encode() + rng.randbytes(number % 5))
        for way, whole in chunks:
            raw = bytearray(whole)
            for _ in range(rng.randrange(0, 4) if raw else 0):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            if way in "io" and raw:
                if rng.random() < 0.1:
                    session.spans(session.legs.passed(C if way == "i" else U, bytes(raw)))
                elif rng.random() < 0.1:
                    side = U if way == "o" else C
                    session.spans(session.legs.take(side, bytes(raw), Mark.EDITED))
                    session.says(bytes(raw)[: len(raw) // 2])
                else:
                    session.passes(C if way == "i" else U, bytes(raw))
        event = {"old": 5, "new": "\x1b", "lost": -1, "forced": "x", "update": [], "ref": None}
        session.log.event("push", event)
        session.log.event("approval", {"id": {}, "approvers": [5, {"subject": b"\xff"}]})
        session.ends(rng.randrange(1 << 32))
    journal.close()
    for name in names:
        for words in (["show"], ["play"], ["show", "--json"]):
            code, _ = run(capfd, tmp_path, *words, name)
            assert code == 0, (name, words)
        for each in ("stdin", "stdout", "stderr"):
            assert main(["--dir", str(tmp_path), "cat", name, "--stream", each]) in (0, 3)
            capfd.readouterr()
    assert run(capfd, tmp_path, "grep", "Enumerating")[0] in (0, 1)


def test_packets_and_lines_are_the_same_however_they_are_cut(repositories: Repositories) -> None:
    raw = stream_of(forced(repositories)[0], "o")
    for reader in (PacketReader, TextReader):
        whole = list_of(reader, [raw])
        assert whole
        assert list_of(reader, [raw[at : at + 1] for at in range(len(raw))]) == whole
    lost = PacketReader()
    assert [p.cut for p in lost.feed(b"0008abcdzzzz", 12, Mark.PLAIN)] == [Cut.LINE, Cut.LOST]
    assert list(lost.feed(b"0000", 4, Mark.PLAIN)) == []
    hidden = PacketReader()
    assert list(hidden.feed(b"0008", 4, Mark.PLAIN)) == []
    assert [p.raw for p in hidden.feed(None, 4, Mark.EDITED)] == [b"????"]
    assert [p.cut for p in hidden.feed(None, 4, Mark.EDITED)] == [Cut.LOST]


def list_of(kind: type[PacketReader] | type[TextReader], cuts: list[bytes]) -> list[object]:
    reader = kind()
    found: list[object] = []
    for raw in cuts:
        if isinstance(reader, PacketReader):
            found += reader.feed(raw, len(raw), Mark.PLAIN)
        else:
            found += reader.feed(raw, Mark.PLAIN)
    return found


def test_frames_with_bytes_that_are_not_on_record() -> None:
    def piece(raw: bytes | None, length: int = 0, offset: int = 0) -> Piece:
        return Piece(0, offset, length or len(raw or b""), raw, "sealed", Mark.EDITED)

    reader = FrameParts()
    head = b"d" + (6).to_bytes(4, "big")
    given = [piece(frame(Kind.EOF)), piece(head + b"ab"), piece(None, 4), piece(None, 9)]
    given += [piece(frame(Kind.EOF)), piece(None, 0, -1), piece(frame(Kind.EOF))]
    parts = [part for each in given for part in reader.feed(each)]
    assert [(p.kind, p.raw, p.length, p.last) for p in parts] == [
        (Kind.EOF, b"", 0, True),
        (Kind.DATA, b"ab", 2, False),
        (Kind.DATA, None, 4, True),
        (None, None, 9, True),
        (Kind.EOF, b"", 0, True),
        (None, None, 0, True),
    ]
    assert [p.over for p in parts] == [False] * 5 + [True]
    for bad in (b"?" + bytes(4), b"d" + b"\xff" * 4):
        (lost,) = FrameParts().feed(piece(bad + b"more"))
        assert lost.over
    half = FrameParts()
    assert list(half.feed(piece(b"d\0"))) == []
    (lost,) = half.feed(piece(None, 3))
    assert lost.over


def test_a_line_is_bounded() -> None:
    reader = TextReader()
    for _ in range(100):
        assert list(reader.feed(b"x" * 100_000, Mark.PLAIN)) == []
    assert len(reader._rest) < 2000
    (said,) = reader.feed(b"\n", Mark.PLAIN)
    assert said.text == "x" * 1000 + "…"


def test_a_large_pack_is_read_in_little_memory(tmp_path: Path) -> None:
    """64 MB taken, then forwarded: nothing holds them, neither whole nor in part."""
    journal = make_journal(tmp_path, sealer=True)
    session = GitSession(journal, ULIDS[0], PUSH.encode())
    block = b"0000PACK" + random.Random(7).randbytes(256 * 1024 - 8)
    places = []
    for _ in range(256):
        places += session.takes(block)
        session.legs.hops[C, True] = b""  # the test's own copy
    head = b"%c%b" % (Kind.DATA, len(block).to_bytes(4, "big"))
    for offset, _ in places:
        session.spans(session.legs.send(U, head), Span(Move.FORWARD, C, Mark.PLAIN, block, offset))
        session.legs.hops[U, False] = b""
    session.ends()
    tracemalloc.start()
    try:
        journal.close()
        found = open_recording(tmp_path, ULIDS[0])
        assert verify.verify(found).status == verify.OK
        length = 0
        for piece in stream(Streams(found), "stdin", U):
            assert piece.raw is not None
            length += len(piece.raw)
        found.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == 64 << 20
    assert peak < 16 << 20
