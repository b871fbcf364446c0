"""Who can write to a copied state directory, and wants the auditor to find it good: links,
things that are no files, Logs in other places, claims that nobody signed, and no ledger at all.
The auditor has the root's public key."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from test_verify_evidence import NAMES, path_of, record, verify

from recorder.evidence import independent_verifier as second
from recorder.evidence.facts import header_digest
from recorder.evidence.inbox import (
    deletion_leaf,
    end_leaf,
    hand_over,
    inbox_directory,
    ledger_directory,
    start_leaf,
)
from recorder.evidence.ledger import Ledger
from recorder.log_reader import LogFile

FORGED = "select 'innocent'"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    record(folder / "state", NAMES)
    shutil.rmtree(folder / "state" / "journal")
    record(folder / "forged", NAMES, FORGED)
    shutil.copy(ledger_directory(folder / "state") / "root.pub", folder)
    return folder


@pytest.fixture
def state(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded / "state", tmp_path / "state")


@pytest.fixture
def trust(recorded: Path) -> tuple[str, str]:
    return "--trust", str(recorded / "root.pub")


def alone(state: Path, trust: tuple[str, str]) -> int:
    """What the second verifier says."""
    with contextlib.redirect_stdout(io.StringIO()):
        return second.main([trust[1], str(state)])


Put = Callable[[Path, Path], None]


def _link(path: Path, forged: Path) -> None:
    path.symlink_to(forged)


def _linked_day(path: Path, forged: Path) -> None:
    """The whole day is elsewhere, with one Log replaced."""
    day = path.parent
    away = day.parents[4] / "elsewhere"
    day.rename(away)
    shutil.copy(forged, away / path.name)
    day.symlink_to(away)


def _loop(path: Path, forged: Path) -> None:
    path.symlink_to(path.name)


def _nowhere(path: Path, forged: Path) -> None:
    path.symlink_to("/nonexistent/file")


def _endless(path: Path, forged: Path) -> None:
    path.symlink_to("/dev/zero")


def _pipe(path: Path, forged: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, forged: Path) -> None:
    path.mkdir()


def _socket(path: Path, forged: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _nothing(path: Path, forged: Path) -> None:
    path.write_bytes(b"")


def _stump(path: Path, forged: Path) -> None:
    path.write_bytes(forged.read_bytes()[:40])


def _copy(path: Path, forged: Path) -> None:
    shutil.copy(forged, path)


ENDLESS = (_endless, _pipe)


@pytest.mark.parametrize(
    "put",
    [_link, _linked_day, _loop, _nowhere, _endless, _pipe, _folder, _socket, _nothing, _stump,
     _copy],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_something_else_in_its_place(
    recorded: Path, state: Path, trust: tuple[str, str], put: Put
) -> None:
    path = path_of(state, NAMES[0])
    path.unlink()
    put(path, path_of(recorded / "forged", NAMES[0]))
    for words in (["--all"], [str(path)], [NAMES[0]]):
        code, found = verify(state, *words, *trust)
        if words == [NAMES[0]] and code == 1:
            continue  # there is nothing of that name: that is said too
        assert code == 4, (words, found)
        verdict = next(item for item in found.values() if item["status"] != "OK-UNANCHORED")
        assert (verdict["status"], verdict["part"]) == ("TAMPERED", 0)
        assert verdict["offset"] is not None
        if "--all" in words:
            assert sorted(item["status"] for item in found.values()) == [
                "OK-UNANCHORED", "OK-UNANCHORED", "TAMPERED",
            ]  # fmt: skip
    if put not in ENDLESS:
        assert alone(state, trust) == 4


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("forged", [False, True])
def test_a_log_under_another_day(
    recorded: Path, state: Path, trust: tuple[str, str], keep: bool, forged: bool
) -> None:
    path = path_of(state, NAMES[0])
    other = path.parents[1] / ("01" if path.parent.name != "01" else "02") / path.name
    other.parent.mkdir()
    shutil.copy(path_of(recorded / "forged", NAMES[0]) if forged else path, other)
    if not keep:
        path.unlink()
    code, found = verify(state, "--all", *trust)
    assert (code, alone(state, trust)) == (4, 4)
    code, found = verify(state, str(other), *trust)
    assert (code, found[NAMES[0]]["status"], found[NAMES[0]]["offset"]) == (4, "TAMPERED", 0)
    assert "another day" in found[NAMES[0]]["message"]
    if keep:
        assert verify(state, str(path), *trust)[0] == 0


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("note", ["", ".away"])
def test_a_part_too_many(state: Path, trust: tuple[str, str], number: int, note: str) -> None:
    path = path_of(state, NAMES[0])
    stray = path.with_name(f"{NAMES[0]}.p{number:04d}.agr{note}")
    shutil.copy(path_of(state, NAMES[1]), stray)
    for words in (["--all"], [NAMES[0]], [str(path)]):
        code, found = verify(state, *words, *trust)
        said = found[NAMES[0]]
        assert (code, said["status"], said["part"], said["offset"]) == (4, "TAMPERED", number, 0)
    if not note:
        assert alone(state, trust) == 4
    shutil.rmtree(ledger_directory(state))
    assert verify(state, NAMES[0])[0] == 4


def test_no_ledger(state: Path, trust: tuple[str, str]) -> None:
    """Who takes it away takes away what would contradict. The key says that there was one."""
    path = path_of(state, NAMES[0])
    shutil.rmtree(ledger_directory(state))
    path.unlink()
    code, found = verify(state, "--all", *trust)
    assert (code, found.pop("ledger")["status"]) == (4, "TAMPERED")
    assert {item["status"] for item in found.values()} == {"UNKNOWN-KEY"}
    assert verify(state, "--log", *trust)[0] == 4
    assert verify(state, NAMES[1], *trust)[0] == 6
    assert alone(state, trust) == 4
    # Who names no key is told what that means.
    code, found = verify(state, "--all")
    assert code == 0
    assert all("there is no ledger here" in item["scope"] for item in found.values())


def test_a_copied_log_without_proof(
    recorded: Path, state: Path, trust: tuple[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.agr"
    shutil.copy(path_of(recorded / "forged", NAMES[0]), copy)
    code, found = verify(tmp_path / "no-state", str(copy), *trust)
    assert (code, found[NAMES[0]]["status"]) == (6, "UNKNOWN-KEY")
    code, found = verify(tmp_path / "no-state", str(copy))
    assert (code, found[NAMES[0]]["status"]) == (0, "OK-UNANCHORED")
    # A link to what is in the state directory is that.
    link = tmp_path / "link.agr"
    link.symlink_to(path_of(state, NAMES[1]))
    assert verify(state, str(link), *trust)[0] == 0


def test_tombstones_that_nobody_signed(state: Path, trust: tuple[str, str]) -> None:
    path = path_of(state, NAMES[0])
    path.unlink()
    said = deletion_leaf(NAMES[0], bytes(32), "kept for 30 days")
    hand_over(inbox_directory(state), [said])
    (state / "tombstones.jsonl").write_text('{"schema": "wirewarden.tombstone/1"}\n')
    for words in (["--all"], [NAMES[0]]):
        code, found = verify(state, *words, *trust)
        assert (code, found[NAMES[0]]["status"]) == (3, "INCOMPLETE")
        assert "does not have it yet" in found[NAMES[0]]["message"]
    assert alone(state, trust) == 4


@pytest.mark.parametrize("cut", [False, True])
def test_a_beginning_that_is_said_twice(state: Path, trust: tuple[str, str], cut: bool) -> None:
    """The inbox can't make up for records that are gone: where they are, a journal has them."""
    new = "01K5P0M4C0000000000000000Z"
    ledger = Ledger(ledger_directory(state), lambda: 4_000_000_000_000_000_000)
    forged = state.parent / "cut"
    record(forged, [new])
    path = path_of(forged, new)
    log = LogFile(path)
    ledger.append([start_leaf(new, header_digest(log.header_body))])
    ledger.close()
    log.close()
    if cut:
        place = path_of(state, NAMES[0]).with_name(path.name)
        place.write_bytes(path.read_bytes()[:-30])
    for _ in range(2):
        for words in (["--all"], [new]):
            code, found = verify(state, *words, *trust)
            assert (code, found[new]["status"]) == (4, "TAMPERED")
        hand_over(inbox_directory(state), [start_leaf(new, bytes(32))])


def test_a_log_that_nobody_signed(recorded: Path, state: Path, trust: tuple[str, str]) -> None:
    """The inbox says that its leaves are on their way; it says what anybody puts there."""
    new = "01K5P0M4C0000000000000000Z"
    record(recorded / "more", [new], FORGED)
    path = path_of(recorded / "more", new)
    shutil.copy(path, path_of(state, NAMES[0]).parent)
    assert verify(state, "--all", *trust)[0] == 4
    leaves = [start_leaf(new, bytes(32)), end_leaf(new, 1, bytes(32), "closed")]
    hand_over(inbox_directory(state), leaves)
    code, found = verify(state, "--all", *trust)
    assert (code, found[new]["status"]) == (3, "INCOMPLETE")
    code, found = verify(state, "--all")
    assert (code, found[new]["status"]) == (0, "OK-UNANCHORED")
    assert "does not have its end yet" in found[new]["scope"]


def test_a_journal_in_place_of_a_log(
    recorded: Path, state: Path, trust: tuple[str, str], tmp_path: Path
) -> None:
    """Somebody's journal holds what the ledger knows the end of."""
    path = path_of(state, NAMES[0])
    path.unlink()
    shutil.copytree(recorded / "forged" / "journal", state / "journal")
    for words in (["--all"], [NAMES[0]]):
        code, found = verify(state, *words, *trust)
        assert (code, found[NAMES[0]]["status"]) == (4, "TAMPERED"), found


@pytest.mark.timeout(20)
def test_an_endless_view_in_place_of_what_is_known(state: Path, trust: tuple[str, str]) -> None:
    known = sqlite3.connect(ledger_directory(state) / "known.db")
    known.executescript(
        "DROP TABLE known; CREATE VIEW known AS WITH RECURSIVE c(name, leaf) AS "
        "(SELECT x'00', 1 UNION ALL SELECT name, leaf + 1 FROM c) SELECT name, leaf FROM c;"
    )
    known.close()
    assert verify(state, NAMES[0], *trust)[0] == 0
    path_of(state, NAMES[0]).unlink()
    assert verify(state, NAMES[0], *trust)[0] == 4


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(
    "name",
    ["evidence/tile/entries", "evidence/tile/0", "evidence/checkpoint", "evidence/root.pub",
     "evidence/known.db", "evidence/inbox/0-1-x.leaves", "evidence/anchors/0001.note",
     "journal/0/sealed", "journal/0/00000001.agj"],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_files_that_never_end(
    recorded: Path, state: Path, trust: tuple[str, str], name: str, pipe: bool
) -> None:
    """Of 40 GB, or pipes that nobody writes to. Neither time nor memory goes into them."""
    if name.startswith("journal"):
        shutil.copytree(recorded / "forged" / "journal", state / "journal")
        assert (state / name).parent.is_dir()
    path = state / name
    if path.is_dir():
        path = next(found for found in path.rglob("*") if found.is_file())
    path.parent.mkdir(parents=True, exist_ok=True)
    if pipe:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    else:
        with path.open("ab") as file:
            file.truncate(40 << 30)
    # Where it matters it is told: what is read is the leaves and the checkpoint, and by --log
    # also the hashes.
    must = name.startswith(("evidence/tile/entries", "evidence/checkpoint"))
    for words in (["--all"], [NAMES[0]], ["--log"]):
        code, _ = verify(state, *words, *trust)
        wanted = must or (words == ["--log"] and name == "evidence/tile/0")
        assert code == (4 if wanted else 0), words
    path_of(state, NAMES[0]).unlink()
    assert verify(state, "--all", *trust)[0] == 4
    assert verify(state, "--all")[0] == 4
    path.unlink()  # whoever copies what tests leave must not meet it


def test_yesterdays_state_against_a_checkpoint_that_was_kept(
    tmp_path: Path, trust: tuple[str, str]
) -> None:
    """The whole directory, as it was; and one that went on another way from there."""
    state, kept = tmp_path / "now", tmp_path / "kept"
    record(state, NAMES[:1])
    point = ledger_directory(state) / "checkpoint"
    yesterday = shutil.copytree(state, tmp_path / "yesterday")
    shutil.copy(point, tmp_path / "older")
    record(state, NAMES[1:2])
    shutil.copy(point, kept)
    record(state, NAMES[2:])
    code, found = verify(state, "--all", "--log", "--kept", str(kept))
    assert code == 0
    assert [found[name]["status"] for name in NAMES] == ["OK", "OK", "OK-UNANCHORED"]
    assert "the checkpoint that was kept" in found[NAMES[0]]["scope"]
    code, found = verify(state, NAMES[1], "--kept", str(kept))
    assert (code, found[NAMES[1]]["status"]) == (0, "OK")
    # By itself yesterday's copy is as good as it was yesterday.
    assert verify(yesterday, "--all", "--log")[0] == 0
    for words in (["--all"], ["--log"], [NAMES[0]]):
        code, found = verify(yesterday, *words, "--kept", str(kept))
        assert (code, found["ledger"]["status"]) == (4, "TAMPERED")
        assert "rolled back" in found["ledger"]["message"]
    record(yesterday, [NAMES[1]], FORGED)
    record(yesterday, [NAMES[2]], FORGED)
    record(yesterday, ["01K5P0M4C0000000000000000Z"], FORGED)
    assert verify(yesterday, "--all", "--kept", str(tmp_path / "older"))[0] == 0
    for words in (["--all"], ["--log"], [NAMES[0]]):
        code, found = verify(yesterday, *words, "--kept", str(kept))
        assert (code, found["ledger"]["status"]) == (4, "TAMPERED"), words
    other = tmp_path / "other"
    record(other, NAMES)
    assert verify(other, "--all", "--kept", str(kept))[0] == 6
    kept.write_text("no note")
    assert verify(state, "--all", "--kept", str(kept))[0] == 4
    copy = path_of(state, NAMES[0])
    assert verify(state, str(copy), *trust, "--proof", str(kept), "--kept", str(kept))[0] == 2


def test_a_silence_is_told(tmp_path: Path) -> None:
    """Whoever stops the gateway for an hour, or a ledger's heartbeat, is seen to have."""
    now = [1_790_000_000_000_000_000]
    ledger = Ledger(tmp_path / "evidence", lambda: now[0])
    for minutes in (1, 1, 61, 9, 15):
        now[0] += minutes * 60_000_000_000
        ledger.heartbeat()
    ledger.close()
    code, found = verify(tmp_path, "--log")
    assert code == 0
    said = "2 silences of over 10 minutes, the longest 61 minutes before leaf 3"
    assert said in found["ledger"]["message"]
