"""Row 108: versions with known holes are neither locked nor installed nor allowed.

Goes red when a floor in ``pyproject.toml`` is lowered.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    "h11": (0, 16, 0),
    "h2": (4, 4, 1),
    "asyncssh": (2, 23, 1),
    "cryptography": (46,),
    "msgpack": (1, 1, 0),
    "joserfc": (1, 6, 8),
}


def numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    assert found is not None
    return tuple(int(n) for n in found[0].split("."))


@pytest.mark.parametrize("name", FLOORS)
def test_floors(name: str) -> None:
    locked = re.search(rf"(?m)^{name}==([^ ;]+)", (ROOT / "requirements.lock").read_text())
    assert locked is not None
    assert numbers(locked[1]) >= FLOORS[name]
    asked = re.search(rf'"{name}>=([^",]+)', (ROOT / "pyproject.toml").read_text())
    assert asked is not None, "pyproject.toml must name a floor"
    assert numbers(asked[1]) >= FLOORS[name]
    assert numbers(metadata.version(name)) >= FLOORS[name]


@pytest.mark.parametrize("name", ["pyjwt", "python-jose", "authlib", "pickle5"])
def test_absent(name: str) -> None:
    """What isn't used can't hurt: PyJWT (row 83) is not among the dependencies."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert not re.search(rf"(?mi)^{name}==", (ROOT / lock).read_text())
