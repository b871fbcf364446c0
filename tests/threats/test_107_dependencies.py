"""Row 107: what is installed is what was looked at.

The lock names every dependency with hashes. The canary: importing the gateway and the
recorder opens no socket and starts no process. Goes red when a dependency is written
without a hash, or calls home on import.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CANARY = """
import sys
bad = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind",
                 "subprocess.Popen", "os.system", "os.posix_spawn", "os.fork"):
        asked = str(args[:2])
        if event == "subprocess.Popen" and any(
            sign in asked for sign in ("ldconfig", "-loqs", "-lliboqs")
        ):
            return  # ctypes.util.find_library: asyncssh looks for a library that may be there
        bad.append((event, repr(args)[:200]))
sys.addaudithook(hook)
import importlib, pkgutil
import gateway.cli, recorder.cli, protocols
for top in ("gateway", "recorder", "protocols"):
    package = importlib.import_module(top)
    for found in pkgutil.walk_packages(package.__path__, top + "."):
        if not found.name.startswith("gateway.demo."):
            importlib.import_module(found.name)
    protocols.load("postgres")
print(bad)
"""


def test_importing_calls_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CANARY], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]"), done.stdout


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_of_the_lock_has_a_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "#"))]
    assert len(lines) > 10
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==[^ ]+", line), line
        assert "--hash=sha256:" in line, line
        assert "://" not in line.partition("--hash")[0], f"from elsewhere than the registry: {line}"


def test_the_lock_holds_what_the_project_asks_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    for wanted in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9._-]+", wanted)
        assert name is not None
        assert name[0].lower().replace("_", "-") in locked, wanted
