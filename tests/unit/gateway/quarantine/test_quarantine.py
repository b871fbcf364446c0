"""The process apart: bounded, ended with all that it started, and nothing left of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import raw_packs as raw
import trio
from push_lab import Lab, MemorySpool

from gateway.quarantine import channel
from gateway.quarantine.confine import surroundings
from gateway.quarantine.places import Place, sweep
from gateway.quarantine.quarantine import Confines, Quarantine
from gateway.spool import Depot
from protocols.contract import Done, Examine, Spool

FILE = b"hello\n"
TREE = raw.tree((b"100644", b"a", raw.oid(raw.BLOB, FILE)))
TIP = raw.commit(raw.oid(raw.TREE, TREE))
PACK = raw.pack(raw.entry(raw.COMMIT, TIP), raw.entry(raw.TREE, TREE), raw.entry(raw.BLOB, FILE))
NEW = raw.oid(raw.COMMIT, TIP).hex()


def look(*spools: Spool, offset: int = 0, new: str = NEW) -> Examine:
    return Examine(
        1,
        "git",
        "pack",
        spools,
        {
            "algorithm": "sha1",
            "updates": [["0" * 40, new, "refs/heads/x"]],
            "offset": offset,
            "cut": [],
        },
    )


def run(folder: Path, body: Callable[[Quarantine], Awaitable[None]], **more: object) -> None:
    async def main() -> None:
        quarantine = Quarantine(folder, **more)  # type: ignore[arg-type]
        try:
            await body(quarantine)
        finally:
            quarantine.close()
            quarantine.close()
        assert (await quarantine.examine(look())).error

    trio.run(main)
    assert not list(folder.glob("*"))


def slow() -> MemorySpool:
    """A pack of a few megabytes that takes git half a minute."""
    stream = zlib.compressobj(9)
    block = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    start = len(block)
    block += stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    squeezed = block[:start] + block[start:] * 8000
    return MemorySpool(raw.pack(raw.head(raw.BLOB, 9000 << 20) + squeezed))


def children(folder: Path) -> list[int]:
    """Processes that work in ``folder``."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if str((each / "cwd").readlink()).startswith(str(folder)):
                found.append(int(each.name))
        except OSError:
            continue
    return found


def gone(folder: Path) -> bool:
    """No process works in ``folder``. The kernel takes its time to end one that was
    killed with much memory."""
    end = time.monotonic() + 5
    while children(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    """From any offset, and the position of the gateway's own stays."""
    spool = Depot(tmp_path / "spools", 1 << 20).open(1 << 20)
    spool.write(b"commands" + PACK)
    os.lseek(spool.fileno(), 3, os.SEEK_SET)

    async def body(quarantine: Quarantine) -> None:
        assert await quarantine.examine(look(spool, offset=8)) == Done("")
        assert os.lseek(spool.fileno(), 0, os.SEEK_CUR) == 3
        assert spool.read(0, 8) == b"commands"

    run(tmp_path / "x", body)


AHEAD = {"algorithm": "sha1", "offset": 8}


def test_a_pack_is_indexed_while_it_arrives(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spools", 1 << 20).open(1 << 20)
    spool.write(b"commands" + PACK[:20])

    async def body(quarantine: Quarantine) -> None:
        assert await quarantine.examine(Examine(1, "git", "ahead", (spool,), AHEAD)) == Done()
        for at in range(20, len(PACK), 7):
            spool.write(PACK[at : at + 7])
            await trio.sleep(0.01)
        assert await quarantine.examine(look(spool, offset=8)) == Done("")
        survey = await quarantine.examine(Examine(2, "git", "survey", (), {"failed": ""}))
        assert isinstance(survey.result, list | dict)
        assert "objects" not in str(survey.error)

    run(tmp_path / "x", body)


@pytest.mark.parametrize(
    "broken", [PACK[:-1], PACK[:40], PACK[:-1] + b"x", PACK + b"more", PACK[:30] + b"?" * 50]
)
def test_a_broken_pack_is_refused_as_if_it_had_come_at_once(tmp_path: Path, broken: bytes) -> None:
    said = []
    for ahead in (False, True):
        spool = Depot(tmp_path / "spools", 1 << 20).open(1 << 20)

        async def body(quarantine: Quarantine, spool: Spool = spool, ahead: bool = ahead) -> None:
            if ahead:
                spool.write(b"commands" + broken[:20])
                await quarantine.examine(Examine(1, "git", "ahead", (spool,), AHEAD))
                spool.write(broken[20:])
            else:
                spool.write(b"commands" + broken)
            said.append(await quarantine.examine(look(spool, offset=8)))

        run(tmp_path / "x", body)
    assert said[0].result or said[0].error
    assert said[0] == said[1]


def test_an_end_that_never_comes_is_called_off(tmp_path: Path) -> None:
    spool = Depot(tmp_path / "spools", 1 << 20).open(1 << 20)
    spool.write(b"commands" + PACK[:20])

    async def body(quarantine: Quarantine) -> None:
        await quarantine.examine(Examine(1, "git", "ahead", (spool,), AHEAD))
        assert children(tmp_path)

    run(tmp_path / "x", body)
    assert gone(tmp_path)


def test_a_spool_without_a_file_is_copied(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        assert await quarantine.examine(look(MemorySpool(PACK))) == Done("")

    run(tmp_path / "x", body)


def test_all_questions_go_to_one_process(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        quarantine.start()
        await quarantine.examine(look(MemorySpool(PACK)))
        first = children(tmp_path)
        survey = await quarantine.examine(Examine(2, "git", "survey", (), {"failed": ""}))
        assert survey.result
        assert children(tmp_path) == first
        (place,) = (tmp_path / "x").iterdir()
        assert place.stat().st_mode & 0o777 == 0o700

    run(tmp_path / "x", body)
    assert gone(tmp_path)


def test_a_step_out_of_turn_is_an_error(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        done = await quarantine.examine(Examine(2, "git", "survey", (), {"failed": ""}))
        assert "could not be looked into" in done.error

    run(tmp_path / "x", body)


def test_time_is_bounded_and_all_ends(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        began = time.monotonic()
        done = await quarantine.examine(look(slow()))
        assert "more than 1 s" in done.error
        assert time.monotonic() - began < 3
        assert gone(tmp_path)
        assert (await quarantine.examine(look(MemorySpool(PACK)))).error == done.error

    run(tmp_path / "x", body, seconds=1.0)


def test_called_off_in_the_middle(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        with trio.move_on_after(0.5) as scope:
            await quarantine.examine(look(slow()))
        assert scope.cancelled_caught
        assert gone(tmp_path)

    run(tmp_path / "x", body)


def test_a_process_that_dies_is_an_error(tmp_path: Path) -> None:
    async def body(quarantine: Quarantine) -> None:
        await quarantine.examine(look(MemorySpool(PACK)))
        for pid in children(tmp_path):
            os.kill(pid, 9)
        assert (await quarantine.examine(look(MemorySpool(PACK)))).error

    run(tmp_path / "x", body)


@pytest.mark.parametrize(
    "confines", [Confines(memory=64 << 20), Confines(memory=300 << 20), Confines(file=1 << 20)]
)
def test_memory_and_disk_are_bounded(tmp_path: Path, confines: Confines) -> None:
    # Bytes that don't compress.
    body_ = b"".join(raw.oid(raw.BLOB, b"%d" % n) for n in range(400_000))
    tree = raw.tree((b"100644", b"a", raw.oid(raw.BLOB, body_)))
    tip = raw.commit(raw.oid(raw.TREE, tree))
    size = 600 << 20
    grow = raw.delta(len(body_), size, raw.copy(0, 6 << 20) * 100)
    packed = raw.pack(
        raw.entry(raw.COMMIT, tip),
        raw.entry(raw.TREE, tree),
        base := raw.entry(raw.BLOB, body_),
        raw.entry(raw.OFS_DELTA, grow, raw.offset(len(base))),
    )

    async def body(quarantine: Quarantine) -> None:
        done = await quarantine.examine(
            look(MemorySpool(packed), new=raw.oid(raw.COMMIT, tip).hex())
        )
        assert "than is allowed" in (done.error or str(done.result))

    run(tmp_path / "x", body, confines=confines)


def test_nothing_of_the_gateways_surroundings_gets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GIT_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_CONFIG_PARAMETERS",
        "AWS_SECRET",
        "GIT_TRACE",
    ):
        monkeypatch.setenv(name, "/nonexistent")
    kept = surroundings(tmp_path)
    assert "/nonexistent" not in kept.values()
    assert kept["HOME"] == str(tmp_path)

    async def body(quarantine: Quarantine) -> None:
        assert await quarantine.examine(look(MemorySpool(PACK))) == Done("")
        for pid in children(tmp_path):
            assert b"nonexistent" not in Path(f"/proc/{pid}/environ").read_bytes()
            files = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
            assert len(files) <= 8, files

    run(tmp_path / "x", body)


OWNER = """
import os, sys, time, trio
from pathlib import Path
from gateway.quarantine.quarantine import Quarantine
quarantine = Quarantine(Path(sys.argv[1]))
quarantine.start()
print(flush=True)
time.sleep(60)
"""


def test_what_a_killed_gateway_leaves_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    mine = Place(folder)
    assert len(list(folder.iterdir())) == 2
    assert sweep(folder) == 0
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 5
    while children(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children(folder)
    assert sweep(folder) == 1
    assert [mine.path] == list(folder.iterdir())
    mine.remove()
    (folder / "examine-torn").mkdir()
    assert sweep(folder) == 1
    assert sweep(folder / "none") == 0


def test_without_git_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def body(quarantine: Quarantine) -> None:
        assert "git" in (await quarantine.examine(look(MemorySpool(PACK)))).error

    run(tmp_path / "x", body)


def test_a_message_survives_the_way() -> None:
    odd = {"path": b"a\xff\n".decode("utf-8", "surrogateescape"), "n": [1, None, True, -5]}
    body = channel.pack(odd)
    assert channel.length_of(body[:4]) == len(body) - 4
    assert channel.unpack(body[4:]) == odd
    for torn in itertools.chain((b"",), (body[4:at] for at in range(5, len(body)))):
        with pytest.raises(channel.ChannelError):
            channel.unpack(torn)
    with pytest.raises(channel.ChannelError):
        channel.length_of(b"\xff\xff\xff\xff")


def test_a_lab_leaves_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.commit({"a": "a"})
    assert lab.look(lab.updates(main="HEAD")).refusal == ""
    assert not children(tmp_path / "examined")
