"""Deletion: only what is too old, and never what somebody or something speaks for."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "index"))

from index_world import WALL, session_id, write
from test_index import some

from recorder.cli import main
from recorder.evidence.inbox import Kind, inbox_directory, read_items, waiting
from recorder.holds import HoldError, holds
from recorder.index.answer import Answer
from recorder.index.wanted import Wanted
from recorder.prune import Pruning
from recorder.retention import Retention, RetentionError, load_retention, read_retention, span
from recorder.tombstones import TombstoneError, tombstones
from recorder.verify import verify_file

NOW = datetime.fromtimestamp(WALL / 1e9, UTC) + timedelta(days=100)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sessions of 100, 99 and 98 days ago, no journal."""
    journal = write(tmp_path, [some(day=n % 3, target=f"t{n % 2}", env="prod" if n % 2 else "dev")
                               for n in range(6)])  # fmt: skip
    del journal
    for path in tmp_path.glob("journal/*/*.agj"):
        path.unlink()
    monkeypatch.setattr("recorder.prune.datetime", _Now)
    return tmp_path


class _Now(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return NOW


def run(capfd: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, str, str]:
    code = main(["--dir", str(state), *words])
    out, err = capfd.readouterr()
    return code, out, err


def left(state: Path) -> list[str]:
    return sorted(path.stem for path in state.glob("sessions/*/*/*/*.agr"))


def ids(*numbers: int) -> list[str]:
    return [session_id(number) for number in numbers]


def test_a_dry_run_comes_first(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    assert run(capfd, state, "prune")[0] == 2
    for words in ([], ["--dry-run"]):
        code, out, err = run(capfd, state, "prune", "--delete-after", "98d", *words)
        assert (code, err) == (0, "")
        assert "would delete 4 sessions" in out
        assert out.count("  delete: retention: ended") == 4
    assert left(state) == ids(*range(6))
    assert not (state / "tombstones.jsonl").exists()
    assert run(capfd, state, "prune", "--delete-after", "1d", "--yes", "--dry-run")[0] == 2


def test_deleted_and_told(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    roots = {}
    inbox_directory(state).mkdir(parents=True)
    run(capfd, state, "list")
    for path in state.glob("sessions/*/*/*/*.agr"):
        from recorder.log_reader import LogFile

        log = LogFile(path)
        assert [*log.stored()]
        roots[path.stem] = log.root.hex()
        log.close()
    code, out, _ = run(capfd, state, "prune", "--delete-after", "99d", "--yes", "--by", "ann")
    assert code == 0
    assert "deleted 2 sessions" in out
    assert left(state) == ids(1, 2, 4, 5)
    stones = [*tombstones(state)]
    assert [(s.line.session, s.root, s.by) for s in stones] == [
        (name, roots[name], "ann") for name in ids(0, 3)
    ]
    told = [item for path in waiting(inbox_directory(state)) for item in read_items(path)]
    assert [kind for kind, _ in told] == [Kind.DELETION] * 2
    assert all(bytes.fromhex(s.root) in fields for s, (_, fields) in zip(stones, told, strict=True))
    _, out, _ = run(capfd, state, "list", "--deleted", "--json", "--target", "t1")
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert row["schema"] == "wirewarden.tombstone/1"
    assert row["session"] == session_id(3)
    assert row["rule"].startswith("retention: ended 99 days ago")
    assert session_id(0) in run(capfd, state, "list", "--deleted")[1]
    assert session_id(0) not in run(capfd, state, "list")[1]
    code, _, err = run(capfd, state, "show", session_id(0))
    assert (code, f"{session_id(0)} was deleted: recorder list --deleted" in err) == (1, True)
    assert "was deleted" not in run(capfd, state, "show", "01XX")[2]
    assert run(capfd, state, "list", "--deleted", "--text", "x")[0] == 2
    again = run(capfd, state, "prune", "--delete-after", "99d", "--yes")
    assert "deleted 0 sessions" in again[1]


def test_rules_of_a_config(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    config = state / "gateway.toml"
    config.write_text(
        '[retention]\nkeep = "10d"\ndelete_after = "98d"\n'
        '[[retention.rule]]\ntarget = "t1"\nkeep = "52w"\n'
        '[[retention.rule]]\ntag = "env=dev"\ndelete_after = "99d"\n'
    )
    _, out, _ = run(capfd, state, "prune", "--config", str(config), "--yes")
    assert left(state) == ids(1, 2, 3, 4, 5)
    assert "retention rule for tag env=dev" in out
    # What a rule keeps is kept, whatever the command line says; and it can only add.
    _, out, _ = run(capfd, state, "prune", "--config", str(config), "--delete-after", "1d", "--yes")
    assert left(state) == ids(1, 3, 5)
    run(capfd, state, "prune", "--keep", "200d", "--delete-after", "1d", "--yes")
    assert left(state) == ids(1, 3, 5)


def test_held_sessions_stay(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    one = run(capfd, state, "hold", "add", session_id(0), "--reason", "case 7", "--by", "lea")
    code, other, _ = run(
        capfd, state, "hold", "add", "--reason", "audit", "--target", "t1", "--tag", "env=prod"
    )
    assert (one[0], code) == (0, 0)
    _, out, _ = run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert left(state) == ids(0, 1, 3, 5)
    assert "of lea: case 7" in out
    rows = [
        json.loads(line) for line in run(capfd, state, "hold", "list", "--json")[1].splitlines()
    ]
    assert rows[0]["session"] == session_id(0)
    assert rows[1]["filter"] == {"target": "t1", "tags": [["env", "prod"]]}
    assert "case 7" in run(capfd, state, "hold", "ls")[1]
    assert run(capfd, state, "hold", "rm", other.strip(), "--reason", "over")[0] == 0
    assert run(capfd, state, "hold", "rm", other.strip(), "--reason", "over")[0] == 1
    run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert left(state) == ids(0)
    assert run(capfd, state, "hold", "add", "--reason", "all")[0] == 2
    assert run(capfd, state, "hold", "add", "nobody", "--reason", "x")[0] == 1


def test_holds_that_cannot_be_read_stop_everything(
    capfd: pytest.CaptureFixture[str], state: Path
) -> None:
    run(capfd, state, "hold", "add", session_id(0), "--reason", "case 7")
    with (state / "holds.jsonl").open("ab") as file:
        file.write(b'{"schema":"wirewarden.hold/1","ev\n')
    code, _, err = run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert code == 1
    assert "nothing more is deleted" in err
    assert left(state) == ids(*range(6))
    with pytest.raises(HoldError):
        holds(state)


def test_what_does_not_verify_stays(capfd: pytest.CaptureFixture[str], state: Path) -> None:
    paths = sorted(state.glob("sessions/*/*/*/*.agr"))
    raw = bytearray(paths[0].read_bytes())
    raw[len(raw) // 2] ^= 4
    paths[0].write_bytes(raw)
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    assert not verify_file(paths[0]).status.startswith("OK")
    run(capfd, state, "prune", "--delete-after", "1d", "--yes")
    assert left(state) == sorted([paths[0].stem, paths[1].stem])


def test_open_and_unsealed_sessions_stay(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.prune.datetime", _Now)
    journal = write(tmp_path, [some(), some(ms=1), some(ms=2)], live=1)
    code, out, _ = run(capfd, tmp_path, "prune", "--delete-after", "1d", "--yes")
    assert code == 0
    assert left(tmp_path) == ids(0, 1)
    assert out.count("a journal still has it") == 2
    assert session_id(2) not in out
    journal.close()


def test_a_session_that_was_open_when_the_list_was_made_stays(tmp_path: Path) -> None:
    """It has ended since, and no journal has it any more; the list still says where it was."""
    journal = write(tmp_path, [some()], live=1)
    lines = list(Answer(tmp_path, Wanted(), print).lines())
    journal.close()
    shutil.rmtree(tmp_path / "journal")
    pruning = Pruning(
        tmp_path,
        Retention(),
        "x",
        delete_after=timedelta(0),
        now=datetime.now(UTC) + timedelta(days=400),
    )
    open_lines = [replace(line, status="closed") for line in lines if "/journal/" in line.path]
    assert len(open_lines) == 1
    assert [choice.delete for choice in pruning.choices(open_lines)] == [False]


def test_a_crash_between_tombstone_and_deletion(
    capfd: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("recorder.prune.os.unlink", _dies)
        assert run(capfd, state, "prune", "--delete-after", "99d", "--yes")[0] == 1
    assert len(left(state)) == 6
    assert len([*tombstones(state)]) == 1
    run(capfd, state, "prune", "--delete-after", "99d", "--yes")
    assert [stone.line.session for stone in tombstones(state)] == ids(0, 3)
    assert left(state) == ids(1, 2, 4, 5)


def _dies(path: Path) -> None:
    raise OSError("the power is gone")


def test_tombstones_can_not_be_changed_unseen(
    capfd: pytest.CaptureFixture[str], state: Path
) -> None:
    run(capfd, state, "prune", "--delete-after", "98d", "--yes")
    file = state / "tombstones.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    assert os.stat(file).st_mode & 0o777 == 0o600
    for harm in (lines[1:], [lines[0], *lines[2:]], [lines[0].replace(b"ann", b"bob"), *lines[1:]],
                 [*lines[:3], b"{}\n"], [*lines[:3], b"torn\n"]):  # fmt: skip
        file.write_bytes(b"".join(harm))
        with pytest.raises(TombstoneError):
            [*tombstones(state)]
        assert run(capfd, state, "list", "--deleted")[0] == 4
        assert run(capfd, state, "prune", "--delete-after", "1d", "--yes")[0] == 1
    assert left(state) == ids(2, 5)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[retention]\nkep = "1d"', "kep"),
        ('[retention]\nkeep = "1 day"', "keep"),
        ('[retention]\nkeep = "9d"\ndelete_after = "8d"', "delete_after"),
        ("[retention]\nkeep = 3", "keep"),
        ('[[retention.rule]]\nkeep = "3d"', "rule.0"),
        ('[[retention.rule]]\ntag = "x"\nkeep = "3d"', "tag"),
        ("retention = 4", "retention"),
        ("[retention]\nrule = 4", "rule"),
        ("[retention", "gateway.toml"),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(RetentionError, match=where):
        load_retention(file)


def test_spans() -> None:
    assert span("2w") == timedelta(days=14)
    for text in ("", "0d", "1y", "1.5d", "-1d", "1d\n"):
        with pytest.raises(ValueError):
            span(text)
    assert read_retention(None, []).rules[0].delete_after is None
