"""The secrets that the gateway holds, and `gateway check` without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import load_config
from gateway.config_text import GATEWAY, POLICY
from gateway.held import held_secrets
from gateway.secrets.errors import SecretUnavailable


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path / "gateway.toml"


def test_targets_and_principals(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROD_DB_PASSWORD", "of the database")
    monkeypatch.setenv("ALICE_PASSWORD", "of alice")
    assert sorted(held_secrets(load_config(config))) == [b"of alice", b"of the database"]


def test_whose_password_is_missing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROD_DB_PASSWORD", raising=False)
    monkeypatch.setenv("ALICE_PASSWORD", "of alice")
    with pytest.raises(SecretUnavailable, match=r"target prod-db: .*PROD_DB_PASSWORD"):
        held_secrets(load_config(config))


@pytest.mark.parametrize(("command", "code"), [("check", 0), ("serve", 1)])
def test_check_warns_where_serve_refuses(config: Path, command: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", command, "-c", str(config)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
        check=False,
        timeout=30,
    )
    assert done.returncode == code
    assert "the password of" in done.stderr
    assert "_PASSWORD is not set" in done.stderr
