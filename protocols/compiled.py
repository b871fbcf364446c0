"""Which way the hot path runs: compiled, or as Python reads it.

The modules named here may be compiled ahead by mypyc, from the same source
(``setup.py``). An extension module hides the ``.py`` beside it, so a build that
is older than its source would run what nobody reads any more. Therefore a build
leaves a stamp, the digests of every source that went into it, and ``settle``,
which importing ``protocols`` calls, compares: where one byte differs, a library
is missing, or ``WIREWARDEN_PURE`` is set, all of them run from source. A mixture
never runs, since compiled modules rely on each other's layout.

Beside them are extension modules in C (``PARTS``), each with a twin in Python that
it must equal. ``part`` gives one of them if it may be run: it knows the digest
of the sources that it was built from.

Not on a floor of its own: it reads this installation's files and the
environment once, at import, and nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MODULES: Final = (
    "protocols.outbox",
    "protocols.postgres.clientlane",
    "protocols.postgres.flight",
    "protocols.postgres.frames",
    "protocols.postgres.intent",
    "protocols.postgres.portals",
    "protocols.postgres.requests",
    "protocols.postgres.serverlane",
    "protocols.postgres.sights",
    "protocols.postgres.traffic",
    "protocols.sql.template",
    "recorder.framing",
    "recorder.journal",
    "recorder.records",
    "recorder.session_log",
)
"""What a build compiles: all of it or nothing."""

_MASK: Final = ("protocols/_mask.h", "protocols/_out.h")
PARTS: Final = {
    "protocols._masks": ("protocols/_masks.c", *_MASK),
    "protocols.postgres._rowloop": (
        "protocols/postgres/_rowloop.c",
        "protocols/postgres/_frames.h",
        "protocols/postgres/_gather.h",
        "protocols/postgres/_lines.h",
        "protocols/postgres/_tuples.h",
        *_MASK,
    ),
    "gateway._gear": (
        "gateway/_gear.c",
        "gateway/_ride.h",
        "recorder/_entry.h",
        "protocols/postgres/_refrain.h",
    ),
}
"""The extension modules in C with their sources, the file to compile first."""
SAID: Final = {
    "protocols._masks": "masks",
    "protocols.postgres._rowloop": "row loops",
    "gateway._gear": "inner loop",
}

GROUP: Final = "protocols._hot"
"""The code is in one library, ``GROUP + "__mypyc"``; the modules' own extension
modules only point into it."""

SWITCH: Final = "WIREWARDEN_PURE"
"""Set in the environment (not empty), nothing compiled is built or run."""
STAMP: Final = "protocols/_hot.stamp"
"""Lines ``digest path`` for the modules and all that they import of this
project: constants and layouts of those end up in the code."""
ROOT: Final = Path(__file__).resolve().parent.parent


def source(module: str) -> str:
    """The path of a module's source, from the root."""
    return module.replace(".", "/") + ".py"


def library(module: str) -> str:
    """The path of a module's extension module, from the root."""
    return module.replace(".", "/") + EXTENSION_SUFFIXES[0]


LIBRARIES: Final = (library(f"{GROUP}__mypyc"), *map(library, MODULES))
"""What a build leaves beside the stamp."""


def digest(path: Path) -> str:
    """What the stamp says of a file; OSError when it can't be read."""
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def fault(root: Path = ROOT) -> str:
    """Why the build under ``root`` must not run, in a few words; empty when it may."""
    here = [(root / name).exists() for name in LIBRARIES]
    if not any(here):
        return "not compiled"
    try:
        lines = (root / STAMP).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return "the build was not finished"
    stamped = {path: said for said, _, path in (line.partition(" ") for line in lines)}
    if not all(here) or not stamped.keys() >= {source(module) for module in MODULES}:
        return "the build is not whole"
    for path, said in stamped.items():
        try:
            if digest(root / path) != said:
                return f"{path} changed since the build"
        except OSError:
            return f"{path} went since the build"
    return ""


class _FromSource(MetaPathFinder):
    """Finds the modules' ``.py``, whatever lies beside it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MODULES:
            return None
        return spec_from_file_location(fullname, ROOT / source(fullname))


_why = ""


def settle() -> None:
    """Choose, before any of the modules is imported: a whole and fresh build, or
    every one of them from source."""
    global _why
    _why = f"{SWITCH} is set" if os.environ.get(SWITCH) else fault()
    if _why:
        sys.meta_path.insert(0, _FromSource())


def state() -> str:
    """``compiled``, or ``pure`` and why."""
    return f"pure: {_why}" if _why else "compiled"


def sources_digest(name: str, root: Path = ROOT) -> str:
    """Of the sources of the part ``name`` under ``root``; "" where none of them is (an
    installed wheel has none). OSError where only some are."""
    paths = [root / path for path in PARTS[name]]
    if not any(path.exists() for path in paths):
        return ""
    whole = blake2b(digest_size=16)
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def part(name: str) -> Any:
    """The extension module ``name`` of ``PARTS``, None where it may not be run: it is
    missing, was built from other sources than are here, or ``WIREWARDEN_PURE`` is set."""
    if os.environ.get(SWITCH):
        return None
    try:
        module = import_module(name)
        return module if sources_digest(name) in ("", module.SOURCES) else None
    except (ImportError, AttributeError, OSError):
        return None


def told() -> str:
    """``state``, and which parts run in C: what ``--version`` says."""
    runs = {said: part(name) is not None for name, said in SAID.items()}
    there = [said for said, is_there in runs.items() if is_there]
    missing = [said for said, is_there in runs.items() if not is_there]
    words = [state()]
    if there:
        words.append(f"in C: {', '.join(there)}")
    if missing:
        words.append(f"in Python: {', '.join(missing)}")
    return "; ".join(words)
