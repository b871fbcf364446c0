"""Spools: bulk that waits on disk for a verdict, in files that have no name.

A spool's file is unlinked as soon as it is open, so nothing of it outlives the
process, however that ends.  All spools of a worker share one budget: without it
many small pushes would fill the disk that one large push may not.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from protocols.contract import SpoolFull


class Depot:
    """The spools of one worker, in ``folder``: up to ``budget`` bytes at once."""

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder = folder
        self._budget = budget
        self.used = 0

    def open(self, cap: int) -> DiskSpool:
        """A new spool of up to ``cap`` bytes. Raises SpoolFull."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="spool-")
            os.unlink(name)
        except OSError as error:
            raise SpoolFull(f"the gateway can't spool: {error.strerror}") from error
        return DiskSpool(self, descriptor, cap)

    def claim(self, count: int) -> bool:
        """Take ``count`` bytes of the budget; False when they are not left."""
        if self.used + count > self._budget:
            return False
        self.used += count
        return True


class DiskSpool:
    """``protocols.contract.Spool`` on a file. ``fileno`` is for a process that
    is to read it; its own position is never used."""

    __slots__ = ("_cap", "_depot", "_descriptor", "_size")

    def __init__(self, depot: Depot, descriptor: int, cap: int) -> None:
        self._depot = depot
        self._descriptor = descriptor
        self._cap = cap
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def fileno(self) -> int:
        """ValueError once it is closed."""
        if self._descriptor < 0:
            raise ValueError("the spool is closed")
        return self._descriptor

    def write(self, data: bytes) -> None:
        if self._size + len(data) > self._cap:
            raise SpoolFull(f"more than {self._cap} bytes")
        if not self._depot.claim(len(data)):
            raise SpoolFull("the gateway has no room for more bytes that wait")
        descriptor, view, at = self.fileno(), memoryview(data), self._size
        try:
            while view:
                wrote = os.pwrite(descriptor, view, at)
                view, at = view[wrote:], at + wrote
        except OSError as error:
            self._depot.used -= len(data)
            os.ftruncate(descriptor, self._size)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the gateway's disk is full" if full else f"the gateway can't spool: {error}"
            raise SpoolFull(why) from error
        self._size = at

    def read(self, offset: int, length: int) -> bytes:
        out = os.pread(self.fileno(), length, offset)
        while len(out) < min(length, self._size - offset):
            more = os.pread(self.fileno(), length - len(out), offset + len(out))
            if not more:
                raise OSError(errno.EIO, "a spool lost its end")
            out += more
        return out

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._depot.used -= self._size
