"""What a power cut leaves of the last line of a file of lines."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from recorder.lines import append_line, whole_lines


@pytest.fixture
def three(tmp_path: Path) -> Path:
    path = tmp_path / "x.jsonl"
    for number in range(3):
        append_line(path, {"n": number, "pad": "x" * 60})
    return path


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in whole_lines(path)]


def test_every_torn_end(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    raw = three.read_bytes()
    start = raw.rindex(b"\n", 0, -1) + 1
    torn = [raw[:cut] for cut in range(start, len(raw))]
    torn += [raw[:cut] + bytes(len(raw) - cut) for cut in range(start, len(raw))]
    torn += [raw[:start] + bytes(cut) + raw[start + cut :] for cut in range(1, len(raw) - start)]
    torn += [raw[:start] + bytes(4096)]
    for left in torn:
        three.write_bytes(left)
        assert numbers(three) == [0, 1]
        append_line(three, {"n": 9})
        assert numbers(three) == [0, 1, 9]


def test_damage_before_the_end_is_not_passed_over(three: Path) -> None:
    raw = bytearray(three.read_bytes())
    raw[10] = 0
    three.write_bytes(raw)
    with pytest.raises(ValueError, match=r"control character|Expecting"):
        numbers(three)


def test_a_failed_fsync_leaves_no_line(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refused)
        with pytest.raises(OSError, match="Input"):
            append_line(three, {"n": 7})
    assert numbers(three) == [0, 1, 2]
    append_line(three, {"n": 8})
    assert numbers(three) == [0, 1, 2, 8]


def test_no_file(tmp_path: Path) -> None:
    assert whole_lines(tmp_path / "none") == []
