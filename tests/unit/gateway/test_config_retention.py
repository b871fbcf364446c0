"""``[retention]`` in gateway.toml: checked at start, used by ``recorder prune``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from test_config import SMALL

from gateway.config import Config, ConfigErrors, load_config

RULES = """
[retention]
keep = "90d"
delete_after = "400d"
[[retention.rule]]
tag = "env=prod"
keep = "52w"
"""


def load(tmp_path: Path, text: str) -> Config:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    (tmp_path / "gateway.toml").write_text(SMALL + text)
    return load_config(tmp_path / "gateway.toml")


def test_rules_are_read(tmp_path: Path) -> None:
    first, last = load(tmp_path, RULES).retention.rules
    assert (first.tag, first.keep, first.delete_after) == (
        ("env", "prod"), timedelta(weeks=52), None
    )  # fmt: skip
    assert (last.keep, last.delete_after) == (timedelta(days=90), timedelta(days=400))
    assert load(tmp_path, "").retention.rules[0].delete_after is None


def test_what_is_wrong_stops_the_start_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, RULES.replace('"400d"', '"40d"').replace("tag", "tags"))
    text = str(caught.value)
    line = (SMALL + RULES).splitlines().index('delete_after = "400d"') + 1
    assert f"gateway.toml:{line}: retention.delete_after is less than keep" in text
    assert "retention.rule[0].tags is not a known key" in text
