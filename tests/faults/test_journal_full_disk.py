"""A disk that is really full: a small tmpfs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounts import mounted, tmpfs

from protocols.wire import Mark, Move, Side, Span
from recorder import verify
from recorder.errors import RecorderError
from recorder.journal import Journal
from recorder.log_reader import LogFile
from recorder.reader import every_log, open_recording
from recorder.segment import BALLAST


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", *tmpfs("4m")) as disk:
        yield disk


def journal_at(state: Path, sealer: bool = False) -> Journal:
    return Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 18, sealer=sealer, low=1 << 20, critical=1 << 19,
    )  # fmt: skip


@pytest.mark.parametrize("size", [700, 60_000, 200_000])
def test_sessions_end_on_record_when_the_disk_is_full(small_disk: Path, size: int) -> None:
    journal = journal_at(small_disk)
    assert journal.state() == "ok"
    logs = [journal.open({"session": f"S{n:03d}"}) for n in range(20)]
    journal.flush()
    flushed = [0] * 20
    raw = os.urandom(size)
    states = set()
    with pytest.raises(RecorderError, match=r"No space|only a part"):
        for turn in range(10_000):
            n = turn % 20
            logs[n].spans([Span(Move.PASS, Side.CLIENT, Mark.PLAIN, raw, flushed[n])])
            journal.flush()
            flushed[n] += size
            if turn % 64 == 0:
                journal._state_after = 0
                states.add(journal.state())
    journal._state_after = 0
    assert journal.state() == "critical"
    with pytest.raises(RecorderError):
        journal.open({"session": "S999"})
    journal.close()
    ballast = (small_disk / "journal" / "0" / BALLAST).read_bytes()
    assert ballast.rstrip(b"\0").count(b"terminated") == 20
    assert os.statvfs(small_disk).f_bavail * 4096 < 1 << 18

    # With the disk still full, the gateway must not start.
    with pytest.raises(RecorderError):
        journal_at(small_disk)
    # With room again (a larger disk), everything is there.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = journal_at(small_disk)
    assert again.recovery.corrupt == []
    assert again.recovery.recovered == []
    for n, count in enumerate(flushed):
        log = open_recording(small_disk, f"S{n:03d}")
        verdict = verify.verify(log)
        assert verdict.status == verify.OK, verdict
        assert isinstance(log, LogFile)
        assert log.end is not None
        assert log.end.status == "terminated"
        assert log.end.counts == (count, 0, 0, count)
        log.close()
    assert len(list(every_log(small_disk))) == 20
    again.close()


def test_the_sealer_waits_for_room(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.seal._RETRY", 0.05)
    journal = journal_at(small_disk, sealer=True)
    log = journal.open({"session": "S1"})
    log.spans([Span(Move.PASS, Side.CLIENT, Mark.PLAIN, os.urandom(200_000), 0)])
    journal.flush()
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            if file.write(bytes(4096)) < 4096:
                raise OSError(28, "No space left on device")
    log.end("closed", "x")
    with pytest.raises(RecorderError):
        for _ in range(100):  # the page at the journal's end may have room
            journal.flush()
            journal.open({"session": "S2", "pad": "x" * 300})
    filler.unlink()
    journal.close()
    assert journal_at(small_disk).recovery.corrupt == []
    assert verify.verify_file(next(every_log(small_disk))).status == verify.OK
