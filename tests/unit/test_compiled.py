"""The compiled hot path: whole and fresh, or not run at all. Builds nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from protocols import compiled

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "protocols", "recorder")


def there() -> list[str]:
    """Extension modules that hide a source, and mypyc's libraries."""
    suffix = compiled.library("")
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob(f"*{suffix}"):
            name = path.name.removesuffix(suffix)
            if name.endswith("__mypyc") or path.with_name(f"{name}.py").exists():
                found.append(path.relative_to(ROOT).as_posix())
    return found


def test_what_is_declared_exists() -> None:
    for module in compiled.MODULES:
        assert (ROOT / compiled.source(module)).is_file()


def test_extras_that_the_demo_has_not_are_no_errors_of_its_build() -> None:
    """mypyc reads what the hot path imports, and an import that is missing ends it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = {
        name: {re.split(r"[^\w.-]", line)[0] for line in lines}
        for name, lines in project["project"]["optional-dependencies"].items()
    }
    forgiven = {
        module
        for override in project["tool"]["mypy"]["overrides"]
        if override.get("ignore_missing_imports")
        for module in override["module"]
    }
    # Their modules have the names of their distributions.
    absent = (extras["store"] | extras["parquet"]) - extras["demo"]
    assert absent == {"obstore", "pyarrow"}
    assert {f"{name}.*" for name in absent} <= forgiven


def test_a_build_is_the_whole_declared_set_and_fresh() -> None:
    if found := there():
        assert sorted(found) == sorted(compiled.LIBRARIES)
        assert compiled.fault() == "", "run `make` anew, or delete the libraries"


def test_this_process_runs_what_it_says() -> None:
    suffix = compiled.library("") if compiled.state() == "compiled" else ".py"
    for module in compiled.MODULES:
        assert str(import_module(module).__file__).endswith(suffix)


# -- a tree with a build that is only made up ---------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The product's sources, with libraries that are none and a stamp that fits."""
    for package in PACKAGES:
        unwanted = shutil.ignore_patterns("*.so", "_hot.stamp", "__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=unwanted)
    for name in compiled.LIBRARIES:
        (tmp_path / name).write_bytes(b"no library at all")
    paths = [*map(compiled.source, compiled.MODULES), "protocols/wire.py"]
    lines = [f"{compiled.digest(tmp_path / path)} {path}\n" for path in paths]
    (tmp_path / compiled.STAMP).write_text("".join(lines))
    return tmp_path


ALONE = "import sys; sys.meta_path = [f for f in sys.meta_path if '__editable__' not in repr(f)]; "
"""What is missing in a tree must not be found where the project is installed from."""


def run(tree: Path, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != compiled.SWITCH} | more
    return subprocess.run(
        [sys.executable, "-c", ALONE + code],
        cwd=tree,
        env=environment | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_fitting_stamp_lets_the_libraries_run(tree: Path) -> None:
    assert compiled.fault(tree) == ""
    done = run(tree, f"import {compiled.MODULES[0]}")
    assert done.returncode
    assert "ImportError" in done.stderr


def test_no_libraries_are_no_build(tree: Path) -> None:
    for name in compiled.LIBRARIES:
        (tree / name).unlink()
    assert compiled.fault(tree) == "not compiled"


@pytest.mark.parametrize("module", compiled.MODULES)
def test_a_changed_source_is_seen(tree: Path, module: str) -> None:
    path = tree / compiled.source(module)
    path.write_bytes(path.read_bytes() + b"\n")
    assert compiled.fault(tree) == f"{compiled.source(module)} changed since the build"


def test_a_changed_import_is_seen(tree: Path) -> None:
    with (tree / "protocols/wire.py").open("a") as file:
        file.write("# more\n")
    assert "wire.py changed" in compiled.fault(tree)
    (tree / "protocols/wire.py").unlink()
    assert "wire.py went" in compiled.fault(tree)


@pytest.mark.parametrize("name", compiled.LIBRARIES)
def test_a_missing_library_is_seen(tree: Path, name: str) -> None:
    (tree / name).unlink()
    assert compiled.fault(tree) == "the build is not whole"


def test_a_build_of_fewer_modules_is_not_whole(tree: Path) -> None:
    stamp = tree / compiled.STAMP
    stamp.write_text("".join(stamp.read_text().splitlines(keepends=True)[1:]))
    assert compiled.fault(tree) == "the build is not whole"


@pytest.mark.parametrize("stamp", [None, b"\xff\xfe"])
def test_a_build_that_broke_off_is_seen(tree: Path, stamp: bytes | None) -> None:
    (tree / compiled.STAMP).unlink()
    if stamp is not None:
        (tree / compiled.STAMP).write_bytes(stamp)
    assert compiled.fault(tree) == "the build was not finished"


@pytest.mark.parametrize("switch", [False, True])
def test_what_is_stale_or_unwanted_runs_from_source(tree: Path, switch: bool) -> None:
    """Whichever package is imported first, and all of them, also the fresh ones."""
    if not switch:
        with (tree / compiled.source(compiled.MODULES[-1])).open("a") as file:
            file.write("# edited\n")
    for first in {module.partition(".")[0]: module for module in compiled.MODULES}.values():
        code = f"""
from importlib import import_module
for name in {(first, *compiled.MODULES)!r}:
    print(import_module(name).__file__)
from protocols import compiled
print(compiled.state())
"""
        done = run(tree, code, **({compiled.SWITCH: "1"} if switch else {}))
        assert done.returncode == 0, done.stderr
        *files, state = done.stdout.splitlines()
        assert files == [str(tree / compiled.source(name)) for name in (first, *compiled.MODULES)]
        assert state.startswith("pure: ")
        assert (compiled.SWITCH in state) is switch


# -- the parts in C -------------------------------------------------------------


def test_the_parts_sources_exist_and_name_what_they_include() -> None:
    assert compiled.PARTS.keys() == compiled.SAID.keys()
    for paths in compiled.PARTS.values():
        whole = {(ROOT / path).resolve() for path in paths}
        for path in whole:
            for name in re.findall(r'^#include "(.+)"$', path.read_text("utf-8"), re.MULTILINE):
                assert (path.parent / name).resolve() in whole


PRINT = "from protocols import compiled as c; print(*[c.part(n) is not None for n in c.PARTS])"


@pytest.fixture
def built(tree: Path) -> Path:
    """The made-up tree, from source but for this installation's parts in C."""
    (tree / compiled.STAMP).unlink()
    for name in compiled.PARTS:
        library = ROOT / compiled.library(name)
        if not library.exists() or compiled.part(name) is None:
            pytest.skip(f"{name} is not built here")
        shutil.copyfile(library, tree / compiled.library(name))
    return tree


def test_parts_in_c_run_while_their_sources_are_what_they_were_built_from(built: Path) -> None:
    assert run(built, PRINT).stdout.split() == ["True"] * len(compiled.PARTS)
    assert run(built, PRINT, **{compiled.SWITCH: "1"}).stdout.split() == ["False"] * 3
    shared = built / "protocols" / "_out.h"
    shared.write_bytes(shared.read_bytes() + b"\n")
    assert run(built, PRINT).stdout.split() == ["False", "False", "True"]
    shared.unlink()
    assert run(built, PRINT).stdout.split() == ["False", "False", "True"]


def test_parts_whose_sources_were_not_installed_run(built: Path) -> None:
    for paths in compiled.PARTS.values():
        for path in paths:
            (built / path).unlink(missing_ok=True)
    assert run(built, PRINT).stdout.split() == ["True"] * len(compiled.PARTS)


def test_a_part_that_is_none_is_not_run(built: Path) -> None:
    (built / compiled.library("protocols._masks")).write_bytes(b"no library at all")
    (built / compiled.library("protocols.postgres._rowloop")).unlink()
    done = run(built, PRINT)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "False", "True"])


def test_the_version_tells_what_runs_in_c(built: Path) -> None:
    (built / compiled.library("protocols._masks")).unlink()
    said = run(built, "from gateway.cli import main; main(['--version'])").stdout
    assert said.count("\n") == 1
    assert "in C: row loops, inner loop; in Python: masks" in said
