"""Row 19: the length of a pkt-line is four hexadecimal digits, and nothing that Python
would also take for a number. Goes red when ``protocols.git.pktline`` reads it with ``int``.
"""

from __future__ import annotations

import pytest
from git_kit import FLUSH, ZERO, Attack, history, pkt, request

LENGTHS = [
    b"0_0a",
    b"+00a",
    b" 00a",
    b"0x0a",
    b"00a\n",
    b"-001",
    b"00\xb9a",
    b"000g",
    b"\0\0\0\x0a",
]
SPECIAL = [b"0001", b"0002", b"0003"]


@pytest.mark.parametrize("length", [*LENGTHS, *SPECIAL])
@pytest.mark.parametrize("service", ["upload", "receive"])
def test_in_the_first_line(attack: Attack, service: str, length: bytes) -> None:
    name, _ = _one(attack)
    unharmed = attack.untouched(name)
    said = attack.execute(f"git-{service}-pack '{name}'", length + b"abcdef" + FLUSH)
    assert said.code or b"ERR " in said.out, said
    unharmed()


@pytest.mark.parametrize("length", [*LENGTHS, *SPECIAL])
def test_behind_a_good_command(attack: Attack, length: bytes) -> None:
    name, _ = _one(attack)
    unharmed = attack.untouched(name)
    made = history()
    good = request((ZERO, made.tip, "refs/heads/new"))
    line = f"{ZERO} {made.tip} refs/heads/other".encode()
    raw = good[: -len(FLUSH)] + length + line + FLUSH + made.pack()
    said = attack.push(name, raw)
    assert said.code or b"ng " in said.out, said
    unharmed()


@pytest.mark.parametrize("length", [b"00FF", b"00ff", b"00fF"])
def test_what_git_takes_is_taken(attack: Attack, length: bytes) -> None:
    """Digits of either case."""
    name, tip = _one(attack)
    line = b"want %b agent=" % tip.encode()
    line = line.ljust(255 - 4 - 1, b"x") + b"\n"
    said = attack.execute(f"git-upload-pack '{name}'", length + line + FLUSH + pkt(b"done\n"))
    assert said.code == 0, said
    assert b"PACK" in said.out


_MADE: dict[int, tuple[str, str]] = {}


def _one(attack: Attack) -> tuple[str, str]:
    if id(attack) not in _MADE:
        name, work = attack.seeded()
        _MADE[id(attack)] = (name, work.id())
    return _MADE[id(attack)]
