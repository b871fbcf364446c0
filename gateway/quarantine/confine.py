"""The bounds that the examining process puts on itself, and git's surroundings."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Confines:
    """``memory``: address space of each process, bytes. ``cpu``: seconds of each
    process. ``file``: bytes of the largest file that may be written."""

    memory: int = 3 << 30
    cpu: int = 120
    file: int = 3 << 30


def confine(confines: Confines) -> None:
    """For this process and all that it starts. It also ends with its parent, where
    the system can do that (Linux)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for what, most in (
        (resource.RLIMIT_AS, confines.memory),
        (resource.RLIMIT_CPU, confines.cpu),
        (resource.RLIMIT_FSIZE, confines.file),
        (resource.RLIMIT_NOFILE, 128),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    die_with_parent()


def die_with_parent() -> None:
    """Also for what is started from here, which may gain no rights by being run."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def no_children() -> None:
    """For git: it needs no further process (not kept for root, by the system)."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    die_with_parent()


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of the process and of git: nothing of the gateway's own, no
    configuration of the system's or a user's."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
