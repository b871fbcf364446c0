"""Two readers that share no code agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import second_reader
from recording_vectors import HOPS, VECTORS

from recorder import verify
from recorder.log_reader import LogFile
from recorder.reader import decoded
from recorder.records import CommandEntry, Event
from recorder.streams import Streams


@pytest.mark.parametrize("name", ["tiny", "small", "sealed"])
def test_both_read_the_same(name: str) -> None:
    path = VECTORS / f"{name}.agr"
    second = second_reader.read(path.read_bytes())
    log = LogFile(path)
    entries = [e for r in decoded(log) for e in r.entries]
    assert second["header"] == log.header
    assert second["events"] == [e.kind for e in entries if isinstance(e, Event)]
    commands = [(e.number, e.text, e.verdict) for e in entries if isinstance(e, CommandEntry)]
    assert second["commands"] == commands
    for hop, where in HOPS.items():
        assert second["hops"][hop] == [p.raw for p in Streams(log).pieces(where)], hop
    assert log.end is not None
    assert second["end"][:3] == [log.end.status, log.end.reason, list(log.end.counts)]


def opinion(raw: bytes) -> str:
    try:
        second_reader.read(raw)
    except second_reader.TooShort:
        return verify.INCOMPLETE
    except second_reader.Damaged:
        return verify.CORRUPT
    except second_reader.Contradiction:
        return verify.TAMPERED
    return verify.OK


def test_both_judge_the_same(tmp_path: Path) -> None:
    raw = (VECTORS / "small.agr").read_bytes()
    rng = random.Random(23)
    trial = tmp_path / "trial.agr"
    cases = [raw, raw + b"x", *(raw[:cut] for cut in range(0, len(raw), 13))]
    for _ in range(300):
        altered = bytearray(raw)
        at = rng.randrange(len(raw) * 8)
        altered[at // 8] ^= 1 << at % 8
        cases.append(bytes(altered))
    for case in cases:
        trial.write_bytes(case)
        assert verify.verify_file(trial).status == opinion(case)
