"""Recordings in other formats, read back."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from recorder_git_world import GitSession
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal, play_session

from gateway.policy.verdicts import Verdict
from protocols.ssh.frames import Kind
from protocols.wire import Mark
from recorder.cli import main
from recorder.export.ocsf import _endpoint
from recorder.export.pcapng import _sum


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Legs]:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    legs = play_session(journal, ULIDS[0])
    long = journal.open(header(ULIDS[1]))
    bulk = Legs()
    long.spans([bulk.passed(C, b"Q" * 10), bulk.passed(U, b"D" * 100_000)])
    long.end("closed", "done")
    journal.flush()
    journal.close()
    return tmp_path / "state", legs


class Packet(NamedTuple):
    when: int
    to_server: bool
    seq: int
    flags: int
    raw: bytes
    comment: str


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, at + size - 4) == (size,)
        yield kind, data[at + 8 : at + size - 4]
        at += size
    assert at == len(data)


def options(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return found


def packets(data: bytes) -> list[Packet]:
    kinds = list(blocks(data))
    assert kinds[0][0] == 0x0A0D0D0A
    assert kinds[0][1][:4] == struct.pack("<I", 0x1A2B3C4D)
    assert kinds[1][0] == 1
    link, _, snap = struct.unpack_from("<HHI", kinds[1][1])
    assert (link, snap) == (101, 0)
    assert options(kinds[1][1][8:])[9] == b"\x09"
    out = []
    for kind, body in kinds[2:]:
        assert kind == 6
        _, high, low, size, whole = struct.unpack_from("<IIIII", body)
        assert size == whole
        ip = body[20 : 20 + size]
        assert _sum(ip[:20]) == 0
        assert struct.unpack_from(">H", ip, 2) == (size,)
        tcp = ip[20:]
        assert _sum(ip[12:20] + struct.pack(">BBH", 0, 6, len(tcp)) + tcp) == 0
        source, _, seq, _, _, flags = struct.unpack_from(">HHIIBB", tcp)
        rest = options(body[20 + (size + 3) // 4 * 4 :])
        comment = rest.get(1, b"").decode()
        out.append(Packet(high << 32 | low, source == 50_000, seq, flags, tcp[20:], comment))
    return out


@pytest.mark.parametrize("leg", ["client", "upstream"])
def test_pcapng_has_the_very_bytes(world: tuple[Path, Legs], leg: str, tmp_path: Path) -> None:
    state, legs = world
    out = tmp_path / "x.pcapng"
    words = ["--dir", str(state), "export", ULIDS[0], "--format", "pcapng", "--leg", leg]
    assert main([*words, "-o", str(out)]) == 0
    found = packets(out.read_bytes())
    assert [p.flags for p in found[:3]] == [2, 18, 16]
    assert [p.when for p in found] == sorted(p.when for p in found)
    side = C if leg == "client" else U
    for to_server in (True, False):
        hop = legs.hops[side, to_server == (side is C)]
        got, expected = b"", None
        for p in (p for p in found if p.to_server == to_server):
            assert expected in (None, p.seq)
            expected = p.seq + len(p.raw) + (1 if p.flags & 3 else 0)
            if p.comment:
                assert "not on record" in p.comment
                assert hop[len(got) : len(got) + len(p.raw)] != p.raw
                got += hop[len(got) : len(got) + len(p.raw)]
            else:
                got += p.raw
        assert got == hop
    assert b"hunter2" not in out.read_bytes()
    assert b"123-45-6789" not in out.read_bytes()
    assert main([*words, "-o", str(out)]) == 1  # nothing is overwritten


def test_pcapng_cuts_long_runs(world: tuple[Path, Legs], tmp_path: Path) -> None:
    out = tmp_path / "x.pcapng"
    state = str(world[0])
    assert main(["--dir", state, "export", ULIDS[1], "--format", "pcapng", "-o", str(out)]) == 0
    sizes = [len(p.raw) for p in packets(out.read_bytes()) if not p.to_server]
    assert sum(sizes) == 100_000
    assert max(sizes) <= 32_768


def test_pcapng_leaves_out_the_way_into_tls(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    ask = bytes.fromhex("0000000804d2162f")
    for number, answer in enumerate((b"S", b"N")):
        log = journal.open(header(ULIDS[number]))
        legs = Legs()
        log.spans([legs.take(C, ask), legs.send(C, answer), legs.take(C, b"startup")])
        log.end("closed", "done")
        journal.flush()
    journal.close()
    said = []
    for number in range(2):
        out = tmp_path / f"{number}.pcapng"
        words = ["--dir", str(tmp_path / "state"), "export", ULIDS[number], "--format", "pcapng"]
        assert main([*words, "-o", str(out)]) == 0
        said.append([p for p in packets(out.read_bytes()) if p.raw])
    assert [p.raw for p in said[0]] == [b"startup"]
    assert "inside TLS" in said[0][0].comment
    assert [p.raw for p in said[1]] == [ask, b"N", b"startup"]


def test_ndjson_is_shaped_as_ocsf(
    world: tuple[Path, Legs], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(world[0]), "export", ULIDS[0], "--format", "ndjson"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [e["query_info"]["query_string"] for e in events] == [
        *["select 1"] * 3, "delete from t", "update t",
    ]  # fmt: skip
    for event in events:
        assert event["class_uid"] == 6005
        assert event["category_uid"] == 6
        assert event["type_uid"] == 600500 + event["activity_id"]
        assert event["metadata"]["version"] == "1.1.0"
        assert event["actor"]["user"]["name"] == "ci@repo"
        assert event["actor"]["user"]["groups"] == [{"name": "ci"}, {"name": "dev"}]
        assert event["src_endpoint"] == {"ip": "127.0.0.1", "port": 5555}
    assert [e["activity_name"] for e in events[2:]] == ["Query", "Delete", "Update"]
    assert [e["action_id"] for e in events[2:]] == [1, 2, 1]
    # What was let through may have failed at the server: 0 is Unknown.
    assert [e["status_id"] for e in events[2:]] == [0, 2, 0]
    assert [e["disposition_id"] for e in events[2:]] == [1, 2, 8]
    assert events[4]["unmapped"]["approval"] == {"id": "a1", "state": "approved"}
    assert len({e["metadata"]["uid"] for e in events}) == 5


@pytest.mark.parametrize(
    ("after", "end", "told"),
    [
        ([("approval", {"id": "a", "state": "pending"}),
          ("approval", {"id": "a", "state": "consumed"})], "closed", (1, 8, 0)),
        ([("approval", {"id": "a", "state": "pending"}),
          ("approval", {"id": "a", "state": "denied"})], "closed", (2, 2, 2)),
        ([("approval", {"id": "a", "state": "pending"}),
          ("refusal", {"kind": "withdrawn"})], "closed", (2, 2, 2)),
        ([("refusal", {"kind": "policy"})], "closed", (2, 2, 2)),
        ([("approval", {"id": "a", "state": "pending"})], "terminated", (2, 2, 2)),
        ([("approval", {"id": "a", "state": "pending"})], "recovered", (0, 14, 0)),
        ([("approval", {"id": "a", "state": "pending"})], "", (0, 14, 0)),
    ],
)  # fmt: skip
def test_ndjson_says_what_became_of_what_was_held(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    after: list[tuple[str, dict[str, Any]]],
    end: str,
    told: tuple[int, int, int],
) -> None:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    log = journal.open(header())
    log.command(1, "prepare", "update t", Verdict.HOLD, ("hold",), "", "p")
    log.command(2, "run", "update t", Verdict.HOLD, ("hold",), "", "p")
    for kind, fields in after:
        log.event(kind, fields)
    log.spans([Legs().passed(C, b"Q select 1;")])
    journal.flush()
    if end:
        log.command(3, "run", "select 1", Verdict.ALLOW, (), "", "p")
        log.end(end, "done")  # type: ignore[arg-type]
        journal.flush()
    words = ["--dir", str(tmp_path / "state"), "export", ULIDS[0], "--format", "ndjson"]
    main(words)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    asked, held, *_ = ((e["action_id"], e["disposition_id"], e["status_id"]) for e in lines)
    assert asked == (0, 14, 0)  # preparing runs nothing, and nobody is asked
    assert held == told
    assert [e["metadata"]["uid"].rpartition("/")[2] for e in lines] == ["1", "2", "3"][: len(lines)]
    journal.close()


def test_endpoints() -> None:
    assert _endpoint("::1") == {"ip": "::1"}
    assert _endpoint("[::1]:5432") == {"ip": "::1", "port": 5432}
    assert _endpoint("db.example:5432") == {"hostname": "db.example", "port": 5432}
    assert _endpoint("10.0.0.1") == {"ip": "10.0.0.1"}
    assert _endpoint("") == {}


def test_asciicast_is_what_play_shows(
    world: tuple[Path, Legs], capfd: pytest.CaptureFixture[str]
) -> None:
    state = str(world[0])
    assert main(["--dir", state, "export", ULIDS[0], "--format", "asciicast"]) == 0
    head, *lines = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert head["version"] == 2
    assert head["timestamp"] == 1_790_000_000
    assert main(["--dir", state, "play", ULIDS[0]]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert [text.removesuffix("\r\n") for _, _, text in lines] == shown
    assert [at for at, _, _ in lines] == sorted(at for at, _, _ in lines)
    assert {kind for _, kind, _ in lines} == {"o"}


def test_a_bundle_verifies_elsewhere(
    world: tuple[Path, Legs], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.tar"
    words = ["--dir", str(world[0]), "export", ULIDS[0], "--format", "bundle"]
    # This state has no ledger: the bundle says so, and holds the Log all the same.
    assert main([*words, "-o", str(out)]) == 3
    assert "unanchored" in capfd.readouterr().err
    again = tmp_path / "y.tar"
    assert main([*words, "-o", str(again)]) == 3
    assert out.read_bytes() == again.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    with tarfile.open(out) as tar:
        tar.extractall(elsewhere, filter="data")
    folder = elsewhere / ULIDS[0]
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
    log = folder / f"{ULIDS[0]}.agr"
    assert log.read_bytes() == next(world[0].rglob(f"{ULIDS[0]}.agr")).read_bytes()
    assert main(["--dir", str(elsewhere), "verify", str(log)]) == 0
    assert len((folder / "commands.ndjson").read_text().splitlines()) == 5
    readme = (folder / "README.txt").read_text()
    assert f"recorder verify {ULIDS[0]}.agr" in readme


def test_pcapng_of_git_is_what_git_daemon_would_say(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    asked, told = b"0014command=ls-refs\n0000", b"000eversion 2\n0000"
    git = GitSession(journal, ULIDS[0], b"git-upload-pack '/org/repo.git'")
    git.passes(U, told)
    git.passes(C, asked[:9])
    git.passes(C, asked[9:])
    git.says(b"hello\x1b[2J\n", Kind.STDERR)
    git.ends(3)
    journal.close()
    for leg in ("client", "upstream"):
        out = tmp_path / f"{leg}.pcapng"
        words = ["--dir", str(tmp_path / "state"), "export", ULIDS[0], "--format", "pcapng"]
        assert main([*words, "--leg", leg, "-o", str(out)]) == 0
        said = packets(out.read_bytes())
        first = b"git-upload-pack /org/repo.git\0host=10.0.0.2\0"
        assert b"".join(p.raw for p in said if p.to_server) == b"0030" + first + asked
        assert b"".join(p.raw for p in said if not p.to_server) == told
        comments = [p.comment for p in said if p.comment]
        assert comments[-1] == "exit status 3"
        assert ("standard error: hello\x1b[2J\n" in comments) == (leg == "client")
        if shutil.which("tshark"):
            shown = subprocess.run(
                ["tshark", "-r", str(out), "-T", "fields", "-e", "frame.protocols"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert sum(":git" in line for line in shown.stdout.splitlines()) == 3


def test_pcapng_of_a_message_that_is_hidden_in_part(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    log, legs = journal.open(header(ULIDS[0])), Legs()
    startup = b"\0\0\0\x10\0\3\0\0user\0u\0\0"
    query = b"Q\0\0\0\x22alter role x password 'hunter2'\0"
    at = query.index(b"hunter2")
    log.spans([legs.take(C, startup), legs.take(C, b"p\0\0\0\x08abcd", Mark.SECRET)])
    log.spans([legs.take(C, query[:at]), legs.take(C, b"hunter2", Mark.SECRET)])
    log.spans([legs.take(C, query[at + 7 :]), legs.take(C, b"X\0\0\0\4")])
    log.end("closed", "done")
    journal.flush()
    journal.close()
    out = tmp_path / "x.pcapng"
    words = ["--dir", str(tmp_path / "state"), "export", ULIDS[0], "--format", "pcapng"]
    assert main([*words, "-o", str(out)]) == 0
    raw = b"".join(p.raw for p in packets(out.read_bytes()))
    hidden = b"p\0\0\0\x08\0\0\0\0"
    assert raw == startup + hidden + query.replace(b"hunter2", b"*******") + b"X\0\0\0\4"
