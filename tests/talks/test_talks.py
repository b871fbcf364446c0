"""Every talk, whole, byte by byte, at random cuts, and with late answers."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from runner import Runner, TalkFailed, Way

import protocols

HERE = Path(__file__).parent
TALKS = sorted(HERE.glob("*/*.talk"))
WAYS = {
    "whole": lambda: Way("whole"),
    "bytewise": lambda: Way("bytewise", 1),
    "cut by 3": lambda: Way("cut by 3", 3),
    "random cuts": lambda: Way("random cuts", Random(7)),
    "late answers": lambda: Way("late answers", late=True),
    "late and bytewise": lambda: Way("late and bytewise", 1, late=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("talk", TALKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_talk(talk: Path, way: str) -> None:
    Runner(talk, WAYS[way]()).run()


@pytest.mark.parametrize("protocol", protocols.NAMES)
def test_every_protocol_has_talks(protocol: str) -> None:
    assert [path for path in TALKS if path.parent.name == protocol]


def test_a_wrong_talk_fails_with_its_place(tmp_path: Path) -> None:
    """The runner itself: every line of a talk counts."""
    right = (HERE / "resp" / "blocked.talk").read_text().splitlines()
    checks = [n for n, line in enumerate(right) if line.startswith(("client<", "upstream", "ask"))]
    assert checks
    folder = tmp_path / "resp"
    folder.mkdir()
    for number in checks:
        wrong = [*right[:number], *right[number + 1 :]]
        path = folder / "wrong.talk"
        path.write_text("\n".join(wrong))
        if right[number].startswith("ask"):
            wrong[number:number] = ['ask Command run resp.read "GET other"']
            path.write_text("\n".join(wrong))
        with pytest.raises(TalkFailed, match=r"wrong\.talk"):
            Runner(path, Way("whole")).run()
