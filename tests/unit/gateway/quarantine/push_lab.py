"""Real repositories, real packs, and an Inquiry against a local ``git upload-pack``."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import trio

from gateway.quarantine.quarantine import Confines, Quarantine
from protocols.contract import Done, Examine, Question, Talk
from protocols.git.inquiry import Inquiry
from protocols.git.survey import RefUpdate, Survey
from protocols.wire import Move, Side

ZERO = "0" * 40
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": f"{who.lower()}@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def git(where: Path, *args: str, feed: bytes | None = None, **env: str) -> bytes:
    return subprocess.run(
        ["git", *args], cwd=where, env=ENV | env, input=feed, capture_output=True, check=True
    ).stdout


def said(where: Path, *args: str) -> str:
    return git(where, *args).decode("utf-8", "surrogateescape").strip()


class MemorySpool:
    """A spool without a file."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.closed = False

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> None:
        self.data += data

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def close(self) -> None:
        self.closed = True


async def converse(talk: Talk, server: Path, quarantine: Quarantine, version: int = 2) -> int:
    """Run ``talk`` to its end with ``git upload-pack``; bytes that came from it."""
    env = ENV | ({"GIT_PROTOCOL": f"version={version}"} if version else {})
    process = await trio.lowlevel.open_process(
        ["git", "upload-pack", str(server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    came = 0
    questions: list[Question] = []
    try:
        while not talk.closing:
            for span in talk.moves():
                if span.move is Move.SEND:
                    try:
                        await process.stdin.send_all(span.raw)
                    except trio.BrokenResourceError:
                        pass
            if questions:
                question = questions.pop(0)
                assert isinstance(question, Examine)
                questions += talk.answer(question.number, await quarantine.examine(question))
                continue
            data = bytes(await process.stdout.receive_some(1 << 16))
            came += len(data)
            questions += talk.receive(Side.UPSTREAM, data)
        talk.moves()
    finally:
        process.kill()
        await process.wait()
        await process.stdin.aclose()
        await process.stdout.aclose()
    return came


class Lab:
    """A server's bare repository and a client's, which borrows nothing from it."""

    def __init__(self, folder: Path, algorithm: str = "sha1", filters: bool = True) -> None:
        self.folder = folder
        self.algorithm = algorithm
        self.server = folder / "server.git"
        self.client = folder / "client"
        form = f"--object-format={algorithm}"
        git(folder, "init", "-q", "--bare", "-b", "main", form, str(self.server))
        git(folder, "init", "-q", "-b", "main", form, str(self.client))
        git(self.server, "config", "uploadpack.allowFilter", str(filters).lower())
        git(self.client, "remote", "add", "origin", str(self.server))
        self.zero = "0" * len(said(self.client, "hash-object", "-t", "tree", os.devnull))
        self.came = 0

    def commit(self, files: dict[str, str | bytes | None] | None = None, text: str = "x") -> str:
        """Commit ``files`` (None deletes) on what is checked out."""
        for name, body in (files or {}).items():
            path = self.client / name
            if body is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body if isinstance(body, bytes) else body.encode())
        git(self.client, "add", "-A")
        git(self.client, "commit", "-q", "--allow-empty", "-m", text)
        return said(self.client, "rev-parse", "HEAD")

    def push(self, *specs: str) -> None:
        git(self.client, "push", "-q", "-f", "origin", *specs)

    def tip(self, ref: str) -> str:
        return said(self.server, "for-each-ref", "--format=%(objectname)", ref) or self.zero

    def pack(self, tips: Iterable[str], known: Iterable[str]) -> bytes:
        """What a client sends that knows ``known``, told ``no-thin``."""
        revs = [*tips, *(f"^{each}" for each in known)]
        return git(
            self.client,
            "pack-objects",
            "--revs",
            "--stdout",
            "-q",
            "--delta-base-offset",
            feed="\n".join(revs).encode() + b"\n",
        )

    def updates(self, **moves: str) -> tuple[RefUpdate, ...]:
        """``main="HEAD"``: the branch to what that names for the client, "" deletes."""
        return tuple(
            RefUpdate(
                self.tip(ref if ref.startswith("refs/") else f"refs/heads/{ref}"),
                said(self.client, "rev-parse", what) if what else self.zero,
                ref if ref.startswith("refs/") else f"refs/heads/{ref}",
            )
            for ref, what in moves.items()
        )

    def look(
        self,
        updates: Sequence[RefUpdate],
        pack: bytes | None = None,
        *,
        version: int = 2,
        known: Iterable[str] | None = None,
        **more: object,
    ) -> Survey:
        """The survey of a push of ``updates``; its pack is made where none is given."""
        if pack is None:
            tips = [each.new for each in updates if not each.deletes]
            has = said(self.server, "for-each-ref", "--format=%(objectname)").split()
            there = (
                git(self.client, "cat-file", "--batch-check", feed="\n".join(has).encode() + b"\n")
                .decode()
                .splitlines()
                if has
                else []
            )
            has = [line.split()[0] for line in there if not line.endswith("missing")]
            pack = self.pack(tips, has if known is None else known) if tips else b""
        numbers = itertools.count(1)
        bounds = {k: more.pop(k) for k in ("confines", "kinds", "seconds") if k in more}

        async def run() -> Survey:
            quarantine = Quarantine(self.folder / "examined", **bounds)  # type: ignore[arg-type]
            talk = Inquiry(
                tuple(updates),
                pack=MemorySpool(pack) if pack else None,
                algorithm=self.algorithm,
                spool=lambda cap: MemorySpool(),
                number=lambda: next(numbers),
                **more,  # type: ignore[arg-type]
            )
            try:
                self.came = await converse(talk, self.server, quarantine, version)
            finally:
                quarantine.close()
            assert not talk.error
            assert talk.result is not None
            return talk.result

        survey = trio.run(run)
        left = list((self.folder / "examined").iterdir())
        assert not left, left
        return survey


__all__ = ["ENV", "ZERO", "Confines", "Done", "Lab", "MemorySpool", "converse", "git", "said"]
