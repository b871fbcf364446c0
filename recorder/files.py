"""Opens files of a state directory that somebody else may have had in his hands."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from recorder.errors import ContradictionError


def open_file(path: Path) -> int:
    """A descriptor of what must be a regular file, or a link to one: to open a pipe would wait
    for ever. ``ContradictionError`` where it is something else; ``OSError``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
    else:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
    raise ContradictionError("here is something else than a file", 0)


def read_file(path: Path, most: int) -> bytes:
    """All of a file. ``ContradictionError`` where it is none, or longer than ``most`` bytes,
    which is not found out by reading it; ``OSError``."""
    with open(open_file(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise ContradictionError(f"{path.name} is longer than it can be", most)
        return file.read(most)
