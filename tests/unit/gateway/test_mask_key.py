"""The key of keyed masks."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from gateway.mask_key import SIZE, mask_key


def test_it_is_made_once_and_private(tmp_path: Path) -> None:
    key = mask_key(tmp_path)
    assert len(key) == SIZE
    assert mask_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "mask.key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["mask.key"]


def test_two_that_start_at_once_agree(tmp_path: Path) -> None:
    # Threads share a process id, hence the name of the fresh file: one may fail,
    # none may get a key of its own.
    keys: list[bytes] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            keys.append(mask_key(tmp_path))
        except FileExistsError:
            pass

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(keys) == {mask_key(tmp_path)}


@pytest.mark.parametrize("found", [b"", b"x" * (SIZE - 1), b"x" * (SIZE + 1)])
def test_a_torn_key_is_no_key(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "mask.key").write_bytes(found)
    with pytest.raises(ValueError, match="not a key"):
        mask_key(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x" * SIZE)
    (tmp_path / "mask.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"symbolic|loop|Too many"):
        mask_key(tmp_path)
