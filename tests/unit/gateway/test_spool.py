from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.spool import Depot
from protocols.contract import SpoolFull


def test_what_is_written_is_read(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spool", 1000).open(100)
    spool.write(b"hello ")
    spool.write(b"world")
    assert spool.size == 11
    assert spool.read(0, 11) == b"hello world"
    assert spool.read(6, 100) == b"world"
    assert spool.read(2, 3) == b"llo"
    assert os.pread(spool.fileno(), 5, 6) == b"world"


def test_nothing_of_it_has_a_name(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spool", 1000).open(100)
    spool.write(b"x")
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_cap_holds_and_nothing_of_the_rest_is_in(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spool", 1000).open(10)
    spool.write(b"12345678")
    with pytest.raises(SpoolFull, match="more than 10 bytes"):
        spool.write(b"9ab")
    assert spool.size == 8
    spool.write(b"9a")
    assert spool.read(0, 10) == b"123456789a"


def test_all_spools_share_a_budget(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "spool", 10)
    one, two = depot.open(100), depot.open(100)
    one.write(b"123456")
    with pytest.raises(SpoolFull, match="no room"):
        two.write(b"12345")
    one.close()
    one.close()
    two.write(b"12345")
    assert depot.used == 5
    two.close()
    assert depot.used == 0


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot = Depot(tmp_path / "spool", 1000)
    spool = depot.open(100)
    spool.write(b"ab")
    real = os.pwrite

    def short(descriptor: int, data: bytes, at: int) -> int:
        if at >= 4:
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data[:2]), at)

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(SpoolFull, match="disk is full"):
        spool.write(b"cdef")
    assert (spool.size, depot.used) == (2, 2)
    assert os.fstat(spool.fileno()).st_size == 2


def test_a_closed_spool_is_no_spool(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spool", 1000).open(100)
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 1)


def test_a_folder_that_can_not_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFull, match="can't spool"):
        Depot(tmp_path / "file" / "spool", 1).open(1)
