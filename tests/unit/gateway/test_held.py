"""The secrets that the gateway holds, and `gateway check` without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.addresses import Address
from gateway.commands import CommandError
from gateway.commands.serve import check_loadable
from gateway.config import Config, LimitsConfig, RecordingConfig, TargetConfig, load_config
from gateway.config_text import GATEWAY, POLICY
from gateway.held import held_secrets
from gateway.key_file import own_key
from gateway.secrets.errors import SecretUnavailable
from gateway.secrets.references import Secret


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path / "gateway.toml"


def test_targets_and_principals(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROD_DB_PASSWORD", "of the database")
    monkeypatch.setenv("ALICE_PASSWORD", "of alice")
    assert sorted(held_secrets(load_config(config))) == [b"of alice", b"of the database"]


def test_whose_password_is_too_short(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROD_DB_PASSWORD", "short")
    monkeypatch.setenv("ALICE_PASSWORD", "of alice")
    with pytest.raises(SecretUnavailable, match=r"password of target prod-db has 5 bytes; .* 6 "):
        held_secrets(load_config(config))


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


def test_keys_of_targets(tmp_path: Path) -> None:
    """The key's own lines are held, its certificate must be there."""
    own_key(tmp_path / "key")
    key, none = Secret("ref+file://key", tmp_path), Secret("ref+file://none", tmp_path)

    def config(**change: Secret) -> Config:
        target = TargetConfig("repo", "git-ssh", Address("h", 22), "git", None, **change)  # type: ignore[arg-type]
        return Config(
            tmp_path, tmp_path, tmp_path, 1, RecordingConfig(), LimitsConfig(), (), {}, {},
            {"repo": target},
        )  # fmt: skip

    held = held_secrets(config(key=key))
    lines = (tmp_path / "key").read_bytes().splitlines()[1:-1]
    assert set(lines) <= set(held)
    with pytest.raises(SecretUnavailable, match=r"the certificate of target repo: .*none"):
        held_secrets(config(key=key, certificate=none))
    with pytest.raises(SecretUnavailable, match=r"the key of target repo: .*none"):
        held_secrets(config(key=none))
    (tmp_path / "bad").write_text("hunter2")
    with pytest.raises(SecretUnavailable, match=r"the key of target repo: .*bad is not a") as why:
        held_secrets(config(key=Secret("ref+file://bad", tmp_path)))
    assert "hunter2" not in str(why.value)


def test_a_git_server_needs_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TargetConfig(
        "repo", "git-ssh", Address("h", 22), "git", None, key=Secret("ref+env://K", tmp_path)
    )
    config = Config(
        tmp_path, tmp_path, tmp_path, 1, RecordingConfig(), LimitsConfig(), (), {}, {},
        {"repo": target},
    )  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"target repo is a git server, .* install git"):
        check_loadable(config, secrets=False)


def test_a_check_makes_no_host_key(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    own_key(tmp_path / "key")
    (tmp_path / "gateway.toml").write_text(
        """\
version = 1
[[listener]]
address = "127.0.0.1:0"
protocol = "git-ssh"
[principal.alice]
password = "ref+env://ALICE"
[target.repo]
protocol = "git-ssh"
upstream = "ssh://git@127.0.0.1:2022"
host_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Xm5ggyzC3dmWNCnNDqgTc9NbD6oeDSzvQmMCHjF2v"]
key = "ref+file://key"
repositories = ["org/*"]
"""
    )
    config = load_config(tmp_path / "gateway.toml")
    check_loadable(config, secrets=False)
    assert not (tmp_path / "state").exists()
    made = tmp_path / "state" / "ssh_host_ed25519_key"
    own_key(made).decode("ascii")
    made.chmod(0o644)
    with pytest.raises(CommandError, match="make it 0600"):
        check_loadable(config, secrets=False)
