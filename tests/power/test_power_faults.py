"""A disk that fails, and then the power goes: writes, fsyncs and new names that end with
EIO or ENOSPC, once or as long as a process lives, on each of the recorder's files.

A failed fsync loses what was written, and the next one succeeds all the same (as Linux
does it): who fsyncs again and believes it loses data at the power cut. Of three processes on one
disk the second has the fault. Whatever was promised at any time must be there.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from test_power_journal import lives

FILES = {
    "journal": "*/journal/0/*.agj",
    "logs": "*.agr*",
    "days": "*/sessions/*",
    "sealed": "*/journal/0/sealed",
    "inbox": "*/inbox*",
    "ledger": "*/evidence/*",
    "names": "*/known.db*",
    "holds": "*/holds.jsonl",
    "tombstones": "*/tombstones.jsonl",
    "approvals": "*/approvals.db*",
    "index": "*/index.db*",
    "all": "*",
}
OPS = ("fsync", "write", "create", "rename")


def broken(folder: Path, file: str, op: str, times: int, cuts: int, seconds: float = 0.5) -> int:
    code = errno.ENOSPC if op == "create" else errno.EIO
    fault = {"op": op, "path": FILES[file], "error": code, "times": times}
    seed = 1000 + len(file) * 7 + len(op) + times
    return lives(folder, "disk", 3, seconds, seed, cuts, fault)


@pytest.mark.parametrize("file", [pytest.param("journal", marks=pytest.mark.deep), "logs"])
def test_a_failed_fsync_is_not_believed_later(tmp_path: Path, file: str) -> None:
    broken(tmp_path / "disk", file, "fsync", 1, 3, 0.35)


@pytest.mark.deep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("times", [1, 0])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("file", FILES)
def test_every_file_and_every_way(tmp_path: Path, file: str, op: str, times: int) -> None:
    broken(tmp_path / "disk", file, op, times, 15)
