"""The demo's rules do what their own tests say, and let nothing else through."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main
from gateway.demo import play

DEMO = Path(play.__file__).parent


@pytest.mark.parametrize("git", [False, True])
def test_its_own_tests_pass(git: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = (DEMO / "policy.toml").read_text("utf-8")
    if git:
        rules += (DEMO / "git-rules.toml").read_text("utf-8")
    (tmp_path / "policy.toml").write_text(rules)
    code = main(["policy", "test", str(tmp_path / "policy.toml")])
    assert code == 0, capsys.readouterr()
