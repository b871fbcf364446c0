"""Walks the imports of the product: floor n imports lower floors only (DESIGN.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("protocols", "recorder", "gateway")

WORDS = {"protocols.wire", "protocols.contract", "protocols.errors"}
"""Floor 0, with gateway.policy.verdicts and gateway.policy.principal."""
VALUES = {"gateway.policy.verdicts", "gateway.policy.principal"}
PLAIN = {
    "__future__",
    "collections",
    "dataclasses",
    "enum",
    "hashlib",
    "typing",
    "zlib",
}
PURE = PLAIN | {
    "array",
    "base64",
    "bisect",
    "binascii",
    "codecs",
    "contextlib",
    "datetime",
    "decimal",
    "difflib",
    "functools",
    "hmac",
    "html",
    "importlib",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "stringprep",
    "tomllib",
    "types",
    "unicodedata",
    # the names of time zones, from files that nobody writes at run time
    "zoneinfo",
    # parsers without a world
    "h11",
    "h2",
    "hpack",
    "hyperframe",
    "hyperscan",
    "pglast",
    "pyasn1",
    "pyasn1_modules",
    "re2",
}
"""What the pure floor may import besides itself: nothing with a clock, a
socket, a file or chance in it."""
PURE_ITEMS = {"uuid.UUID", "urllib.parse"}
"""Of modules that have a world in them too, the parts that have none."""
LEND = {("protocols.http.dialects.git", "protocols.git"), ("protocols.ssh", "protocols.git")}
"""Folders of protocols that another protocol's folder may import."""
SHARED = {"protocols.outbox", "protocols.recurring", "protocols.sql", "protocols.compiled"}
"""Under protocols, beside the folders of protocols; sql is a family's language."""
INSTALLED = {"protocols.compiled": {"os", "pathlib", "sys"}}
"""Looks at how this installation was built, at import; no byte of a peer gets there."""

NATIVE = {"protocols.compiled"}
"""Where policy finds its masks in C."""

SESSION = {"session", "relay", "dial", "tls", "island", "leg", "reactor", "errands", "cancels"}
SESSION |= {"farewell", "holds", "listening", "services", "turnaway", "carriers", "deadlines"}
SESSION |= {"seat"}
PROCESS = {"listener", "worker", "supervisor", "console", "cli", "commands", "demo"}
PROCESS |= {"config_text"}


@dataclass(frozen=True)
class Import:
    path: Path
    line: int
    module: str
    name: str
    typing: bool
    """Only for annotations: inside of ``if TYPE_CHECKING``."""
    item: str = ""
    """The name taken from the module."""

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def pure(self) -> bool:
        whole = f"{self.name}.{self.item}"
        return self.top in PURE or self.name in PURE_ITEMS or whole in PURE_ITEMS

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.module} imports {self.name}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def known() -> frozenset[str]:
    """Every module of the product."""
    return frozenset(module_of(p) for top in PRODUCT for p in (ROOT / top).rglob("*.py"))


def is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def found(path: Path, source: str) -> Iterator[Import]:
    """The imports of ``source``, wherever they stand in it."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, module, alias.name, typing)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base]).strip(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                name = whole if whole in known() else base
                yield Import(path, node.lineno, module, name, typing, alias.name)
        elif isinstance(node, ast.Call):
            yield from dynamic(node)
        inside = typing or is_typing(node)
        for name, value in ast.iter_fields(node):
            # The else branch of ``if TYPE_CHECKING`` runs.
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, inside if name != "orelse" else typing)

    def dynamic(node: ast.Call) -> Iterator[Import]:
        """``import_module("x")`` and ``__import__("x")`` of a constant."""
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(path, node.lineno, module, first.value, False)

    yield from walk(ast.parse(source), False)


@cache
def imports(top: str) -> tuple[Import, ...]:
    out: list[Import] = []
    for path in sorted((ROOT / top).rglob("*.py")):
        out += found(path, path.read_text())
    return tuple(out)


def below(name: str, folders: set[str]) -> bool:
    return any(name == folder or name.startswith(folder + ".") for folder in folders)


def folder_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def wrong_in_protocols(i: Import) -> bool:
    if i.module in WORDS:
        return i.top not in PLAIN and i.name not in WORDS
    if i.top != "protocols":
        return not i.pure and i.name not in INSTALLED.get(i.module, ())
    mine, other = folder_of(i.module), folder_of(i.name)
    if other in WORDS | SHARED | {"protocols", mine}:
        return other == "protocols" and mine != "protocols"
    return not any(below(i.module, {a}) and below(i.name, {b}) for a, b in LEND)


def wrong_in_policy(i: Import) -> bool:
    if i.module in VALUES:
        return i.top not in PLAIN and i.name not in WORDS | VALUES
    if i.top == "gateway":
        return not below(i.name, {"gateway.policy"})
    # The table of protocols is words too: families, actions and facts.
    return i.name not in WORDS | NATIVE and not i.pure


def wrong_in_recorder(i: Import) -> bool:
    if i.top in ("trio", "asyncio", "asyncssh"):
        return True
    return i.top == "gateway" and i.name not in VALUES


def floor(name: str) -> int:
    """3 services, 4 session, 5 process, for modules of the gateway."""
    part = name.partition(".")[2].partition(".")[0]
    return 5 if part in PROCESS else 4 if part in SESSION else 3


def wrong_in_gateway(i: Import) -> bool:
    if i.top in ("asyncio", "asyncssh"):
        return i.module != "gateway.island"
    if i.top != "gateway" or i.typing:
        return False
    return floor(i.name) > floor(i.module)


def breaks(kept: list[Import]) -> str:
    return "\n".join(map(str, kept))


def test_protocols_are_pure_and_do_not_know_each_other() -> None:
    assert not (bad := [i for i in imports("protocols") if wrong_in_protocols(i)]), breaks(bad)


def test_policy_is_pure() -> None:
    policy = [i for i in imports("gateway") if below(i.module, {"gateway.policy"})]
    assert policy
    assert not (bad := [i for i in policy if wrong_in_policy(i)]), breaks(bad)


def test_the_recorder_knows_neither_trio_nor_the_gateway() -> None:
    assert not (bad := [i for i in imports("recorder") if wrong_in_recorder(i)]), breaks(bad)


def test_the_gateway_imports_downwards() -> None:
    rest = [i for i in imports("gateway") if not below(i.module, {"gateway.policy"})]
    assert not (bad := [i for i in rest if wrong_in_gateway(i)]), breaks(bad)


def test_nothing_of_the_product_imports_tests_or_bench() -> None:
    everything = [i for top in PRODUCT for i in imports(top)]
    assert len(everything) > 500
    assert not (bad := [i for i in everything if i.top in ("tests", "bench")]), breaks(bad)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("protocols/resp/x.py", "import trio"),
        ("protocols/resp/x.py", "def f():\n    import time"),
        ("protocols/resp/x.py", "from os import path"),
        ("protocols/resp/x.py", "from protocols.postgres.rows import RowMasker"),
        ("protocols/resp/x.py", "from protocols import load"),
        ("protocols/resp/x.py", "from importlib import import_module\nimport_module('ssl')"),
        ("protocols/wire.py", "from protocols.outbox import Outbox"),
        ("protocols/resp/x.py", "from uuid import uuid4"),
        ("protocols/resp/x.py", "import urllib.request"),
        ("gateway/policy/x.py", "import random"),
        ("gateway/policy/x.py", "from gateway.config import Config"),
        ("gateway/policy/x.py", "if TYPE_CHECKING:\n    import secrets"),
        ("recorder/x.py", "import trio"),
        ("recorder/x.py", "from gateway.store import Store"),
        ("gateway/x.py", "import asyncio"),
        ("gateway/store.py", "from gateway.session import Session"),
        ("gateway/relay.py", "from gateway.cli import main"),
        ("gateway/x.py", "if TYPE_CHECKING:\n    pass\nelse:\n    from gateway.cli import main"),
    ],
)
def test_a_break_is_seen(where: str, source: str) -> None:
    """The walk itself."""
    rules = {
        "protocols": wrong_in_protocols,
        "gateway": wrong_in_gateway,
        "recorder": wrong_in_recorder,
        "policy": wrong_in_policy,
    }
    rule = rules["policy" if "/policy/" in where else where.partition("/")[0]]
    assert [i for i in found(ROOT / where, source) if rule(i)]


def test_what_is_allowed_is_allowed() -> None:
    source = "import re\nfrom protocols.wire import Side\nfrom protocols.resp.text import shown"
    assert not [i for i in found(ROOT / "protocols/resp/x.py", source) if wrong_in_protocols(i)]
    source = "if TYPE_CHECKING:\n    from gateway.session import Session"
    assert not [i for i in found(ROOT / "gateway/holds.py", source) if wrong_in_gateway(i)]
