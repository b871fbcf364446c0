"""The optional compiled parts; everything else is in pyproject.toml.

All of them optional, and named by ``protocols/compiled.py``: extension modules in C
(masks, the loops over rows, the straight gear's inner loop), and the hot path,
compiled from its own Python source by mypyc. Whatever is missing or fails, one line says so
and the install goes on in plain Python. ``WIREWARDEN_PURE=1`` asks for that.
``gateway --version`` tells which it is.
"""

from __future__ import annotations

import ast
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HOT = SimpleNamespace(**runpy.run_path(str(ROOT / "protocols" / "compiled.py")))
PACKAGES = ("gateway", "protocols", "recorder")
PURE = bool(os.environ.get(HOT.SWITCH))

COMPILE = """
import sys
from mypyc.build import mypycify
from setuptools import setup

config, group, *paths = sys.argv[1:]
extensions = mypycify(
    ["--config-file", config, *paths], opt_level="2", group_name=group, target_dir="c"
)
setup(
    packages=[],
    ext_modules=extensions,
    script_args=["-q", "build_ext", "--build-lib", "lib", "--build-temp", "o"],
)
"""
"""Run in a folder of its own with the project's packages linked into it."""


class Build(build_ext):
    """The parts in C as setuptools does it, then the hot path, all or nothing."""

    def run(self) -> None:
        if not PURE:
            super().run()
        root = ROOT if self.inplace else Path(self.build_lib)
        if not PURE and not HOT.fault(root):
            return
        clear(root)
        missing = lacks()
        if missing:
            say(f"pure Python: {missing}")
            return
        say("compiling the hot path (about 40 s, once) …")
        folder = Path(self.build_temp).resolve() / "hot"
        try:
            # Before the sources are read: what changes meanwhile is not in the stamp.
            stamp = "".join(f"{HOT.digest(ROOT / path)} {path}\n" for path in sources())
            compile_hot(folder)
            put(folder / "lib", root, stamp)
        except (OSError, ValueError, SyntaxError, subprocess.SubprocessError) as error:
            clear(root)
            say(f"pure Python: the hot path did not compile ({error})")


def say(text: str) -> None:
    print(f"wirewarden: {text}", file=sys.stderr, flush=True)


def lacks() -> str:
    """What a build of the hot path needs and is not there."""
    if PURE:
        return f"{HOT.SWITCH} is set"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(os.environ.get("CC", compiler).split()[0]):
        return "no C compiler"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "no Python.h (on Debian: apt-get install python3-dev)"
    if find_spec("mypyc") is None:
        return "mypyc is not installed (pip install mypy)"
    return ""


def sources() -> list[str]:
    """The modules' sources and what they import of this project."""
    paths = {HOT.source(module) for module in HOT.MODULES}
    for path in sorted(paths):
        paths |= {name for name in imported(path) if (ROOT / name).is_file()}
    return sorted(paths)


def imported(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (node.module, *(f"{node.module}.{item.name}" for item in node.names)):
                yield HOT.source(name)
                yield HOT.source(f"{name}.__init__")


def compile_hot(folder: Path) -> None:
    """Leave the extension modules under ``folder/lib``; raises SubprocessError with
    the last thing said."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in PACKAGES:
        (folder / name).symlink_to(ROOT / name)
    config = str(ROOT / "pyproject.toml")
    paths = [HOT.source(module) for module in HOT.MODULES]
    with (folder / "log").open("w+") as log:
        done = subprocess.run(
            [sys.executable, "-c", COMPILE, config, HOT.GROUP, *paths],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=900,
            check=False,
        )
        if done.returncode:
            log.seek(0)
            said = [line.strip() for line in log if "error" in line.lower()] or ["no reason given"]
            raise subprocess.SubprocessError(f"{said[0]}; see {folder / 'log'}")


def put(built: Path, root: Path, stamp: str) -> None:
    """The stamp goes last: without it nothing compiled is run."""
    for name in HOT.LIBRARIES:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: a running process has the old file mapped.
        fresh = target.with_name(f"{target.name}.new")
        shutil.copyfile(built / name, fresh)
        fresh.replace(target)
    (root / HOT.STAMP).write_text(stamp, "utf-8")


def clear(root: Path) -> None:
    """Leave nothing of a build behind, also of one that named other modules."""
    (root / HOT.STAMP).unlink(missing_ok=True)
    suffix = HOT.library("")
    for package in PACKAGES:
        for path in (root / package).rglob(f"*{suffix}"):
            if path.with_name(path.name.removesuffix(suffix) + ".py").exists() or (
                path.name.endswith(f"__mypyc{suffix}")
            ):
                path.unlink()


setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension(
            name,
            [paths[0]],
            # A build that is older than its sources isn't run: it says what it was built from.
            depends=list(paths),
            define_macros=[("SOURCES", f'"{HOT.sources_digest(name)}"')],
            extra_compile_args=["-O3", "-Wall", "-Wextra"],
            optional=True,
        )
        for name, paths in HOT.PARTS.items()
    ],
)
