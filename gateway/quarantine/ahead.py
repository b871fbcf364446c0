"""Indexing a pack while it still arrives, so that its end is not the beginning of the wait."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Final

_PIECE: Final = 1 << 20
_PAUSE_SECONDS: Final = 0.01
"""Between two looks at a file that has nothing new."""


class Ahead:
    """Feeds ``program``, which reads a pack from its standard input, from the file
    ``fd`` as it grows; the file belongs to it then. ``start`` starts the program."""

    def __init__(self, fd: int, offset: int, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._fd = fd
        self._at = offset
        self._program = start()
        self._whole = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def finish(self) -> tuple[int, bytes, bytes]:
        """Nothing more will be written to the file: the program's exit status, and what
        it said on standard output and standard error."""
        self._whole.set()
        self._thread.join()
        # It says a line or two, never enough to fill a pipe.
        assert self._program.stdout is not None
        assert self._program.stderr is not None
        with self._program.stdout as out, self._program.stderr as err:
            said = out.read(), err.read()
        return self._program.wait(), *said

    def _feed(self) -> None:
        stdin = self._program.stdin
        assert stdin is not None
        try:
            while True:
                # Looked at before the file, so that no last piece is missed.
                whole = self._whole.is_set()
                sent = os.sendfile(stdin.fileno(), self._fd, self._at, _PIECE)
                self._at += sent
                if not sent:
                    if whole:
                        break
                    time.sleep(_PAUSE_SECONDS)
        except OSError:
            pass  # The program has ended, and says why.
        finally:
            os.close(self._fd)
            try:
                stdin.close()
            except OSError:
                pass
