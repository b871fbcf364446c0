"""``[retention]`` in gateway.toml: checked at start, used by ``recorder prune``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from test_config import SMALL

from gateway.config import Config, ConfigErrors, load_config
from recorder.store import Store, StoreError, store_of_environment

RULES = """
[retention]
keep = "90d"
delete_after = "400d"
[[retention.rule]]
tag = "env=prod"
keep = "52w"
"""


def load(tmp_path: Path, text: str, more: str = "", first: bool = False) -> Config:
    """``first``: ``text`` is for the top of the file, where keys of no table stand."""
    (tmp_path / "policy.toml").write_text("version = 1\n")
    (tmp_path / "gateway.toml").write_text(text + SMALL + more if first else SMALL + text + more)
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


def test_a_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WIREWARDEN_INDEX", "WIREWARDEN_RECORDINGS"):
        monkeypatch.delenv(name, raising=False)
    told = '[store]\nindex = "postgresql://db/audit"\nrecordings = "s3://audit/logs"\n'
    config = load(tmp_path, told)
    assert config.store == Store("postgresql://db/audit", "s3://audit/logs")
    monkeypatch.setenv("WIREWARDEN_CONFIG", str(config.path))
    assert store_of_environment() == config.store
    monkeypatch.setenv("WIREWARDEN_INDEX", "postgresql://other")
    assert store_of_environment().index == "postgresql://other"
    with pytest.raises(ConfigErrors, match=r"store\.index must be"):
        load(tmp_path, told.replace("postgresql", "mysql"))
    short = 'store = "postgresql://db/audit"\nrecordings = "s3://audit/logs"\n'
    assert load(tmp_path, short, first=True).store == config.store
    monkeypatch.delenv("WIREWARDEN_INDEX")
    assert store_of_environment() == config.store
    for wrong, why in (
        (short.replace("postgresql", "mysql"), "store must be"),
        (short.replace("s3", "file"), "recordings must be"),
        (short.replace('"s3://audit/logs"', "4"), "recordings must be"),
        (short + 'keys = "x"\n', "keys is not a known key"),
    ):
        with pytest.raises(ConfigErrors, match=why):
            load(tmp_path, wrong, first=True)
    with pytest.raises(ConfigErrors, match="said twice"):
        load(tmp_path, 'recordings = "s3://b"\n', told, first=True)
    (warning,) = load(tmp_path, 'store = "postgresql://me:secret@db/audit"\n', first=True).warnings
    assert "a password in it" in warning
    assert "secret" not in warning
    monkeypatch.setenv("WIREWARDEN_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(StoreError):
        store_of_environment()
