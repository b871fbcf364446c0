"""Names and sizes: the vocabulary of DESIGN.md, and files that can be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("protocols", "recorder", "gateway")
BANNED = {"manager", "handler", "helper", "utils", "util", "common", "misc", "v2"}
LONGEST = 600
MEDIAN = 170
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+[0-9]*|[0-9]+")


def files() -> list[Path]:
    return sorted(path for top in PRODUCT for path in (ROOT / top).rglob("*.py"))


def words(name: str) -> set[str]:
    """``ConnectionManager`` and ``connection_managers`` to their words."""
    found = {word.lower() for word in _WORD.findall(name)}
    return found | {word.removesuffix("s") for word in found}


def names(source: str) -> Iterator[tuple[int, str]]:
    """Classes and functions of ``source``, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def size(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_banned_names() -> None:
    bad = []
    for path in files():
        place = path.relative_to(ROOT)
        bad += [f"{place}" for part in place.with_suffix("").parts if BANNED & words(part)]
        bad += [
            f"{place}:{line}: {name}"
            for line, name in names(path.read_text())
            if BANNED & words(name)
        ]
    assert not bad, "\n".join(bad)


def test_no_file_is_too_long() -> None:
    bad = [f"{p.relative_to(ROOT)}: {size(p)} lines" for p in files() if size(p) > LONGEST]
    assert not bad, "\n".join(bad)


def test_files_are_small() -> None:
    sizes = [size(path) for path in files() if size(path)]
    assert len(sizes) > 50
    assert median(sizes) < MEDIAN


@pytest.mark.parametrize(
    "name", ["ConnectionManager", "_handlers", "row_utils", "HelperRow", "parse_v2", "CommonRow"]
)
def test_a_banned_name_is_seen(name: str) -> None:
    source = f"class A:\n    def {name}(self): ..."
    assert [found for _, found in names(source) if BANNED & words(found)] == [name]


@pytest.mark.parametrize("name", ["uncommon", "manage", "Handle", "ivory2", "miscount"])
def test_other_words_are_not(name: str) -> None:
    assert not BANNED & words(name)
