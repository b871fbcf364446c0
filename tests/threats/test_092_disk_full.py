"""Row 92: on a full disk nothing goes unrecorded: the running session ends with 53100,
new ones are refused with 53100, and when there is space again the gateway serves again.

Goes red when ``Session.fail`` does not tell a recorder's failure from others. (The
look at the journal's state in ``Relay._greeted`` alone can go: opening a Log fails too.)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounts import mounted, tmpfs
from stack import Stack
from wire import Wire, await_true, enter, query

from gateway.demo.postgres import Server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", *tmpfs("96m")) as disk:
        yield disk


def fill(disk: Path, leave: int) -> Path:
    """Use the disk up but for ``leave`` bytes."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        while (free := _free(disk)) > leave:
            file.write(bytes(min(1 << 20, free - leave)))
    return filler


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@pytest.mark.timeout(90)
def test_a_full_disk(small_disk: Path, pg: Server) -> None:
    with Stack(small_disk, pg) as stack:
        wire = enter(stack)
        idle = enter(stack)
        assert wire.ask("SELECT 1").rows == [[b"1"]]
        filler = fill(small_disk, 64 << 10)
        answers = []
        for _ in range(400):
            answer = wire.send(query(f"SELECT 2 -- {'x' * 4000}")).until()
            answers.append(answer)
            if not answer.status:
                break
        last = answers[-1]
        assert not last.status, "the session goes on without a record"
        assert last.errors[-1]["C"] == "53100", last
        assert last.errors[-1]["S"] == "FATAL"
        assert wire.rest() == []
        assert idle.rest().code in ("53100", ""), "those at rest end too"
        for _ in range(3):
            with Wire(stack.port) as new:
                assert new.login(stack.token()).code == "53100"
        assert stack.process is not None
        assert stack.process.poll() is None
        assert "recorder" in stack.output()

        filler.unlink()

        def serves() -> bool:
            with Wire(stack.port) as new:
                return new.login(stack.token()).status == "I"

        await_true(serves, 20, "service")
        enter(stack).close()
        time.sleep(0.3)
        done = stack.recorder("verify", "--all")
        assert done.returncode in (0, 3), done.stdout
        assert "Traceback" not in stack.output()
