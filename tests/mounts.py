"""Small disks, for tests that fill them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(mount: Path, *options: str) -> Iterator[Path]:
    """The folder ``mount``, which is made, with ``mount OPTIONS`` upon it. Skips where that
    can't be done."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    mount.mkdir()
    command = ["mount", *options, str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount {' '.join(options)} here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def tmpfs(size: str) -> list[str]:
    """The options of a tmpfs of ``size``, such as ``32m``."""
    return ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
