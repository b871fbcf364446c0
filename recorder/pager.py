"""Shows what a command prints page by page, on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

_USUAL = (("less", "less"), ("more", "more"))


class _Page(io.TextIOWrapper):
    """The way into the pager: a terminal stands at its end, so colors are wanted."""

    def isatty(self) -> bool:
        return True


def command() -> str:
    """What to start: ``PAGER``, else less or more, "" for none."""
    told = os.environ.get("PAGER")
    if told is not None:
        return "" if told.strip() in ("", "cat") else told
    return next((line for name, line in _USUAL if shutil.which(name)), "")


@contextlib.contextmanager
def paged(wanted: bool) -> Iterator[None]:
    """Within, stdout is the pager's, and stderr where that is a terminal; nothing happens
    when stdout is no terminal. BrokenPipeError when it was left early."""
    words = command() if wanted and sys.stdout.isatty() else ""
    if not words:
        yield
        return
    # -F: leave when it fits the screen; -R: colors; -X: keep what was shown. LESSSECURE: what
    # is shown comes from strangers, and nothing of it is to become a command or a file.
    environment = {"LESS": "FRX", "LESSSECURE": "1", **os.environ}
    try:
        process = subprocess.Popen(words, shell=True, stdin=subprocess.PIPE, env=environment)
    except OSError:
        yield
        return
    assert process.stdin is not None
    kept = sys.stdout, sys.stderr
    kept[0].flush()
    page = _Page(process.stdin, encoding="utf-8", errors="backslashreplace")
    sys.stdout = page
    if kept[1].isatty():
        sys.stderr = page
    # Ctrl-C is for the pager, which goes on.
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
        page.flush()
    finally:
        sys.stdout, sys.stderr = kept
        with contextlib.suppress(OSError):
            page.close()
        process.wait()
        signal.signal(signal.SIGINT, before)
