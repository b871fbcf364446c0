"""Commands as Parquet, read back with pyarrow."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, C, Legs, World, header, make_journal, play_session

from recorder.cli import main
from recorder.export import commands, parquet
from recorder.reader import Record, every_log
from recorder.records import CommandEntry, Event

pytestmark = pytest.mark.xdist_group("parquet")
ODD = "select '\udcff\ud800' -- \x1b]52;c;x\x07"


@pytest.fixture
def arrow() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three sessions: a usual one, one with odd text, one that is open."""
    world = World()
    journal = make_journal(tmp_path / "state", world, sealer=True)
    play_session(journal, ULIDS[0])
    log = journal.open(header(ULIDS[1]))
    legs = Legs()
    log.event("identity", {"subject": "odd\udcff", "run": "7", "groups": [], "tags": {"env": "x"}})
    log.event("destination", {"target": "other-db"})
    log.command(1, "prepare", ODD, 1, ("m\udcff",), "r", "p" * 8, None, None, ("mask-it",))
    log.spans([legs.passed(C, b"Q")])
    log.end("closed", "done")
    journal.flush()
    journal.close()
    play_session(make_journal(tmp_path / "state", world), ULIDS[2], end=False)
    return tmp_path / "state"


def export(state: Path, *words: str) -> int:
    return main(["--dir", str(state), "export", "--format", "parquet", *words])


def test_every_column_comes_back(arrow: Any, state: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    assert export(state, ULIDS[0], "-o", str(out)) == 0
    file = arrow.ParquetFile(out)
    assert file.schema_arrow.metadata[b"schema"] == parquet.SCHEMA.encode()
    rows = file.read().to_pylist()
    assert [r["text"] for r in rows] == ["select 1"] * 3 + ["delete from t", "update t"]
    began = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    events = [e for e in told(state, ULIDS[0]) if e["event"] == "command"]
    for row, event in zip(rows, events, strict=True):
        assert row["started"] == began
        assert row["seconds"] == event["at"]
        assert abs(row["at"] - began - timedelta(seconds=event["at"])) < timedelta(microseconds=2)
        for name in ("seq", "number", "phase", "verdict", "rules", "reason", "policy", "text",
                     "digest", "parameters", "masks", "shadow"):  # fmt: skip
            assert row[name] == event[name], name
    assert rows[4]["parameters"] == ["a", None]
    assert rows[4]["digest"] == "d" * 64
    assert rows[0]["parameters"] is None
    fixed = {k: rows[0][k] for k in ("session", "status", "principal", "issuer", "kind", "run",
                                     "target", "protocol", "database", "peer")}  # fmt: skip
    assert list(fixed.values()) == [
        ULIDS[0], "closed", "ci@repo", "github", "ci", "42", "prod-db", "postgres", "app",
        "127.0.0.1:5555",
    ]  # fmt: skip
    assert sorted(rows[0]["groups"]) == ["ci", "dev"]
    assert rows[0]["tags"] == [("env", "prod")]


def told(state: Path, session: str) -> list[dict[str, Any]]:
    kept, sys.stdout = sys.stdout, io.StringIO()
    try:
        main(["--dir", str(state), "events", session, "--json"])
        return [json.loads(line) for line in sys.stdout.getvalue().splitlines()]
    finally:
        sys.stdout = kept


def test_many_sessions_and_filters(
    arrow: Any, state: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def sessions(*words: str) -> list[str]:
        out = tmp_path / f"{'-'.join(words)}.parquet"
        assert export(state, "-o", str(out), *words) == 0
        return list(dict.fromkeys(arrow.read_table(out)["session"].to_pylist()))

    assert sessions() == ULIDS[:3]
    assert "still open" in capfd.readouterr().err
    assert sessions("--target", "other-db") == [ULIDS[1]]
    assert sessions("--denied", "--status", "closed") == [ULIDS[0]]
    assert sessions("--limit", "1") == [ULIDS[2]]
    assert sessions("--principal", "nobody") == []
    assert export(state, ULIDS[0], "--denied") == 2
    assert "not both" in capfd.readouterr().err


def test_what_is_no_unicode_is_escaped(arrow: Any, state: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    assert export(state, ULIDS[1], "-o", str(out)) == 0
    (row,) = arrow.read_table(out).to_pylist()
    assert row["text"] == "select '\\udcff\\ud800' -- \x1b]52;c;x\x07"
    assert row["principal"] == "odd\\udcff"
    assert row["rules"] == ["m\\udcff"]
    assert (row["verdict"], row["phase"], row["masks"]) == ("mask", "prepare", ["mask-it"])


def test_a_forged_recording_is_no_reason_to_fail(
    arrow: Any, monkeypatch: pytest.MonkeyPatch, state: Path, tmp_path: Path
) -> None:
    odd, huge = "\udcff", 1 << 80
    forged = CommandEntry(
        huge, odd, odd, 99, (odd,), odd, odd, odd, (odd, None), (odd,), (odd,), huge
    )
    who = Event("identity", {"subject": odd, "groups": [odd], "tags": {odd: odd}})
    monkeypatch.setattr(
        commands, "decoded", lambda _: iter([Record(huge, huge, [who, forged], 0, 0)])
    )
    out = tmp_path / "x.parquet"
    assert export(state, ULIDS[1], "-o", str(out)) == 0
    (row,) = arrow.read_table(out, columns=["text", "principal", "tags", "number", "parameters",
                                            "verdict"]).to_pylist()  # fmt: skip
    assert row == {
        "text": "\\udcff", "principal": "\\udcff", "tags": [("\\udcff", "\\udcff")],
        "number": (1 << 63) - 1, "parameters": ["\\udcff", None], "verdict": "verdict 99",
    }  # fmt: skip


def test_a_damaged_session_does_not_keep_the_others_out(
    arrow: Any, state: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = next(p for p in every_log(state) if p.stem == ULIDS[0])
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    out = tmp_path / "x.parquet"
    assert export(state, "-o", str(out)) == 4
    assert ULIDS[0] in capfd.readouterr().err
    assert set(arrow.read_table(out)["session"].to_pylist()) >= {ULIDS[1], ULIDS[2]}


def test_row_groups_keep_memory_small(
    arrow: Any, monkeypatch: pytest.MonkeyPatch, state: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 2)
    out = tmp_path / "x.parquet"
    assert export(state, ULIDS[0], "-o", str(out)) == 0
    about = arrow.ParquetFile(out).metadata
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [2, 2, 1]
    monkeypatch.setattr(parquet, "ROWS", 10_000)
    monkeypatch.setattr(parquet, "CHARACTERS", 10)
    assert export(state, ULIDS[0], "-o", str(tmp_path / "y.parquet")) == 0
    assert arrow.ParquetFile(tmp_path / "y.parquet").metadata.num_row_groups > 1


def test_nothing_half_done_stays(state: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "x.parquet"
    assert export(state, "01XXXX", "-o", str(out)) == 1
    assert out.exists()  # no rows, but whole
    assert export(state, ULIDS[0], "-o", str(out)) == 1  # nothing is overwritten
    with pytest.raises(RuntimeError), parquet.Sheet(io.BytesIO()) as sheet:
        sheet.add(iter(()))
        raise RuntimeError


def test_without_pyarrow_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    state: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "x.parquet"
    assert export(state, ULIDS[0], "-o", str(out)) == 1
    assert "wirewarden[parquet]" in capfd.readouterr().err
    assert not out.exists()


def test_ndjson_of_many(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--dir", str(state), "export", "--format", "ndjson"]
    assert main([*words, "--target", "prod-db"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {e["metadata"]["log_name"] for e in lines} == {ULIDS[0], ULIDS[2]}
    assert main([*words[:-1], "pcapng"]) == 2
    assert main([*words[:-1], "asciicast", ULIDS[0], ULIDS[1]]) == 2
