"""Every policy file here loads against the real facts, and its tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.load import compile_policy
from gateway.policy.suite import run_tests
from protocols.contract import FactKind, Part
from protocols.git import facts, words
from protocols.sql.analyse import analyse
from protocols.sql.words import ACTIONS, FACTS

FILES = sorted(Path(__file__).parent.glob("*.toml"))
TEXT = FactKind.TEXT
FAMILIES = {
    "sql": (ACTIONS, FACTS),
    "git": (words.ACTIONS, words.FACTS),
    "k8s": ({"delete"}, {"resource": TEXT, "name": TEXT}),
}


def parts_of(family: str, text: str) -> tuple[Part, ...]:
    return facts.parts(text) if family == "git" else analyse(text).parts


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_policy_file(file: Path) -> None:
    policy = compile_policy(file.read_text(), source=file.name, actions=FAMILIES)
    assert policy.tests
    report = run_tests(policy, parts_of)
    assert report.ok(), report.text()


def test_there_are_policy_files() -> None:
    assert len(FILES) >= 3
