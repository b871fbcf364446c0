"""Two readers that share no code agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import second_reader
from recording_vectors import HOPS, VECTORS

from recorder import verify
from recorder.parted import files_of, log_of
from recorder.reader import decoded
from recorder.records import CommandEntry, Event
from recorder.streams import Streams


@pytest.mark.parametrize("name", ["tiny", "small", "sealed", "parts"])
def test_both_read_the_same(name: str) -> None:
    path = VECTORS / f"{name}.agr"
    second = second_reader.read(*(part.read_bytes() for part in files_of(path)))
    log = log_of(path)
    entries = [e for r in decoded(log) for e in r.entries]
    assert second["header"] == log.header
    assert second["events"] == [e.kind for e in entries if isinstance(e, Event)]
    commands = [(e.number, e.text, e.verdict) for e in entries if isinstance(e, CommandEntry)]
    assert second["commands"] == commands
    for hop, where in HOPS.items():
        assert second["hops"][hop] == [p.raw for p in Streams(log).pieces(where)], hop
    assert log.end is not None
    assert second["end"][:3] == [log.end.status, log.end.reason, list(log.end.counts)]


def opinion(*parts: bytes) -> str:
    try:
        second_reader.read(*parts)
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


def test_both_judge_parts_the_same(tmp_path: Path) -> None:
    raws = [path.read_bytes() for path in files_of(VECTORS / "parts.agr")]
    assert len(raws) == 2
    rng = random.Random(24)
    paths = [tmp_path / "trial.agr", tmp_path / "trial.p0001.agr"]
    cases = [raws]
    for number, raw in enumerate(raws):
        others = [(*raws[:number], piece, *raws[number + 1 :]) for piece in _altered(raw, rng)]
        cases += map(list, others)
    for case in cases:
        for path, raw in zip(paths, case, strict=True):
            path.write_bytes(raw)
        assert verify.verify_file(paths[0]).status == opinion(*case)
    paths[1].unlink()
    paths[0].write_bytes(raws[0])
    assert verify.verify_file(paths[0]).status == opinion(raws[0]) == verify.INCOMPLETE


def _altered(raw: bytes, rng: random.Random) -> list[bytes]:
    found = [raw + b"x", *(raw[:cut] for cut in range(0, len(raw), 29))]
    for at in rng.sample(range(len(raw) * 8), 60):
        altered = bytearray(raw)
        altered[at // 8] ^= 1 << at % 8
        found.append(bytes(altered))
    return found
