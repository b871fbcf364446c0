"""The git half of ``recorder replay``: a recorded fetch or push, fed to a service program."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from protocols.ssh.frames import Kind
from protocols.wire import Side
from recorder.originals import Opener
from recorder.reader import Recording
from recorder.render import one_line
from recorder.replay import git
from recorder.replay.messages import UnreadableError
from recorder.replay.report import Item
from recorder.ssh_parts import FrameParts
from recorder.ssh_streams import stream
from recorder.streams import Hop, Streams

MOST = 1 << 28
"""Bytes of one direction that are held."""
_PACKED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


def writes(recording: Recording) -> bool:
    """The recorded service is one that takes pushes."""
    return b"receive-pack" in _parts(recording).get(Kind.EXEC, b"")


def replayed(
    recording: Recording, opener: Opener | None, program: str, timeout: float, exact: bool
) -> list[Item]:
    """Run ``program`` with what its upstream was sent. OSError, UnreadableError,
    subprocess.SubprocessError."""
    streams = Streams(recording, opener)
    known = _parts(recording)
    if Kind.EXEC not in known:
        raise UnreadableError("nothing of this session reached its upstream")
    asked = _whole(streams, "stdin")
    answered = _whole(streams, "stdout")
    words = shlex.split(program)
    environment = {k: v for k, v in os.environ.items() if k not in _PACKED}
    environment.pop("GIT_PROTOCOL", None)
    if Kind.ENV in known:
        environment["GIT_PROTOCOL"] = known[Kind.ENV].decode("ascii", "ignore")
    done = subprocess.run(
        words, input=asked, capture_output=True, env=environment, timeout=timeout, check=False
    )
    if done.returncode and not done.stdout:
        why = done.stderr[-200:].decode("utf-8", "backslashreplace")
        raise UnreadableError(
            f"{words[0]} said nothing, exit status {done.returncode}: {one_line(why)}"
        )
    then, now = git.said(answered), git.said(done.stdout)
    items = list(git.compare(then, now, exact))
    if then.pack or now.pack:
        items.append(git.compare_objects(_objects(then.pack, words), _objects(now.pack, words)))
    return items


def _parts(recording: Recording) -> dict[Kind, bytes]:
    """EXEC and ENV as the upstream got them."""
    found: dict[Kind, bytes] = {}
    frames = FrameParts()
    for piece in Streams(recording).pieces(Hop(Side.UPSTREAM, False)):
        for part in frames.feed(piece):
            if part.kind in (Kind.EXEC, Kind.ENV) and part.raw is not None:
                found[part.kind] = found.get(part.kind, b"") + part.raw
            if part.kind is Kind.DATA:
                return found
    return found


def _whole(streams: Streams, name: str) -> bytes:
    out = bytearray()
    for piece in stream(streams, name, Side.UPSTREAM):
        if piece.raw is None:
            raise UnreadableError(f"bytes of its {name} are not on record: {piece.why}")
        out += piece.raw
        if len(out) > MOST:
            raise UnreadableError(f"more than {MOST} bytes of {name}")
    return bytes(out)


def _objects(pack: bytes, words: list[str]) -> frozenset[str]:
    """The ids of the objects in ``pack``; what a thin one builds upon is looked for in the
    repository that the program names last."""
    if not pack:
        return frozenset()
    near = [
        p for p in (Path(words[-1]) / "objects", Path(words[-1]) / ".git/objects") if p.is_dir()
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    if near:
        environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(near[0].resolve())
    with tempfile.TemporaryDirectory(prefix="recorder-") as folder:

        def run(*words: str, given: bytes = b"") -> bytes:
            return subprocess.run(["git", *words], input=given, capture_output=True, cwd=folder,
                                  env=environment, timeout=120, check=True).stdout  # fmt: skip

        run("init", "-q", "--bare", ".")
        run("index-pack", "--stdin", "--fix-thin", given=pack)
        index = next(Path(folder, "objects", "pack").glob("*.idx"))
        rows = run("show-index", given=index.read_bytes()).decode("ascii").split("\n")
    # What was added to complete a thin pack lies behind its own objects.
    end = len(pack) - 20
    pairs = (row.split()[:2] for row in rows if row)
    return frozenset(oid for offset, oid in pairs if int(offset) < end)
