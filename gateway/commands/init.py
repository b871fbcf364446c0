"""``gateway init``: write a commented configuration to start from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.config_text import GATEWAY, POLICY


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "init",
        help="write a commented gateway.toml and policy.toml",
        description="Write gateway.toml and policy.toml, with every key explained. "
        "Never overwrites a file.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="where (default: here)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    files = {"gateway.toml": GATEWAY, "policy.toml": POLICY}
    there = [name for name in files if (folder / name).exists()]
    if there:
        print(f"gateway: {folder / there[0]} exists; nothing was written", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"wrote {folder / name}")
    config = folder / "gateway.toml"
    print(f"edit them, then: gateway check -c {config} && gateway serve -c {config}")
    return 0
