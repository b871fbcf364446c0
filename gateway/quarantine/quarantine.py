"""The gateway's end: starts the examining process, asks it, and gets rid of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import trio

from gateway.quarantine import channel
from gateway.quarantine.confine import Confines, surroundings
from gateway.quarantine.places import Place, sweep
from protocols.contract import Done, Examine, Spool

__all__ = ["Confines", "Quarantine", "sweep"]

_ROOT: Final = str(Path(__file__).parents[2])
# Not -m: no place on the path but the product's own and the installed packages.
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from gateway.quarantine.process import main; main()"
)
_COPIED: Final = 1 << 20


class Quarantine:
    """One session's. ``folder`` is where its throw-away directory is made; ``kinds``
    are the detectors to find secrets with, None for all that find credentials;
    ``seconds`` bounds each examination.

    One task at a time.  After an error, or a cancellation in the middle, the process
    is gone and every further examination fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinds: Iterable[str] | None = None,
        confines: Confines | None = None,
        seconds: float = 120.0,
    ) -> None:
        self._folder = folder
        self._kinds = kinds
        self._confines = confines or Confines()
        self._seconds = seconds
        self._place: Place | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._over = ""

    def start(self) -> None:
        """Start the process ahead of the first question (it takes a fifth of a
        second to be ready, and is not waited for). Raises OSError."""
        if self._process is not None or self._over:
            return
        if self._kinds is None:
            from gateway.quarantine.scanning import CREDENTIALS

            self._kinds = CREDENTIALS
        if shutil.which("git") is None:
            raise FileNotFoundError("git is not installed here")
        self._place = Place(self._folder)
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        bounds = (self._confines.memory, self._confines.cpu, self._confines.file)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-c", _START, _ROOT),
                    *map(str, (theirs.fileno(), self._place.path, *bounds)),
                    *sorted(self._kinds),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._place.path,
                env=surroundings(self._place.path),
                pass_fds=(theirs.fileno(),),
                # A group of its own, to be ended with all that it started.
                process_group=0,
            )

    async def examine(self, question: Examine) -> Done:
        """Answers ``question``. Never raises for what a peer wrote, a full disk or
        a process that died: ``Done.error`` tells it."""
        if self._over:
            return Done(error=self._over)
        try:
            with trio.fail_after(self._seconds):
                self.start()
                result, error = await self._ask(question)
        except trio.TooSlowError:
            error = f"the push takes more than {self._seconds:g} s to look into"
        except channel.ChannelError:
            error = "the push takes more time, memory or disk to look into than is allowed"
        except OSError as failed:
            error = f"the push could not be looked into: {failed.strerror or failed}"
        except BaseException:
            self._kill("the examination was called off")
            raise
        if error:
            self._kill(error)
            return Done(error=error)
        return Done(result=result)

    def close(self) -> None:
        """End the process with all that it started, and remove what it wrote.
        Idempotent; does not wait for anything but the end of a killed process."""
        self._kill("the session is over")
        if self._place is not None:
            self._place.remove()
            self._place = None

    # -- inner

    async def _ask(self, question: Examine) -> tuple[object, str]:
        sock = self._sock
        assert sock is not None
        files = []
        try:
            for spool in question.spools:
                files.append(await self._file(spool))
            data = memoryview(channel.pack([question.step, dict(question.arguments)]))
            while data:
                try:
                    sent = socket.send_fds(sock, [data], files)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(sock)
                    continue
                # Files travel with the first bytes, once.
                self._close(files)
                data = data[sent:]
        finally:
            self._close(files)
        head = await self._exactly(channel.HEAD)
        reply = channel.unpack(await self._exactly(channel.length_of(head)))
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], str):
            raise channel.ChannelError("a reply that can't be read")
        return reply[0], reply[1]

    async def _exactly(self, size: int) -> bytes:
        assert self._sock is not None
        out = bytearray()
        while len(out) < size:
            try:
                data = self._sock.recv(min(size - len(out), 1 << 20))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
                continue
            if not data:
                raise channel.ChannelError("the process ended")
            out += data
        return bytes(out)

    async def _file(self, spool: Spool) -> int:
        """A file that holds what ``spool`` does: its own if it has one (``fileno()``),
        which then is only read, at places of our own; otherwise a copy."""
        own = getattr(spool, "fileno", None)
        if own is not None:
            return os.dup(own())
        assert self._place is not None
        fd = os.open(self._place.path, os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            for at in range(0, spool.size, _COPIED):
                os.write(fd, spool.read(at, _COPIED))
                await trio.lowlevel.checkpoint()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _close(self, files: list[int]) -> None:
        while files:
            os.close(files.pop())

    def _kill(self, why: str) -> None:
        self._over = self._over or why
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._process is not None:
            # Not polled before: while the leader is not waited for, the group is its own.
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None
