"""``gateway ssh-cert``, as its users run it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway.cli import main
from gateway.config import load_config
from gateway.config_text import GATEWAY, POLICY
from gateway.identity.authority import Authority
from gateway.world import World
from protocols.contract import Proof

Run = Callable[..., int]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.setenv("ALICE_PASSWORD", "pencil")
    monkeypatch.setenv("PROD_DB_PASSWORD", "pencil")
    monkeypatch.setenv("WIREWARDEN_TOKEN", "pencil")
    for kind in ("ed25519", "ecdsa"):
        make = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / kind)]
        subprocess.run(make, check=True)
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    def go(*words: str, name: str = "alice") -> int:
        proof = ["--name", name] if name else []
        return main(["ssh-cert", "-c", str(home / "gateway.toml"), *proof, *words])

    return go


def proven(home: Path, certificate: Path) -> str:
    authority = Authority(load_config(home / "gateway.toml"), World())
    blob = base64.b64decode(certificate.read_text().split()[1])
    return trio.run(authority.prove, Proof(1, "x", key=blob), "192.0.2.1").subject


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_beside_the_key(
    home: Path, run: Run, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--key", str(home / f"{kind}.pub")) == 0
    out = home / f"{kind}-cert.pub"
    said = capsys.readouterr().out
    assert f"wrote {out}: local:alice, serial " in said
    assert f"-i {home / kind} " in said
    assert "git clone ssh://" in said
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", out], capture_output=True, text=True, check=True
    ).stdout
    assert 'Key ID: "local:alice"' in shown
    assert "Principals: \n                alice\n" in shown
    assert proven(home, out) == "alice"
    assert (home / "state" / "ssh_ca").stat().st_mode & 0o777 == 0o600


def test_a_new_pair_and_json(home: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--new", str(home / "ci"), "--json", "--ttl", "1h", "--source", "192.0.2.0/24")
    assert run(*words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["certificate"] == str(home / "ci-cert.pub")
    assert told["principal"] == "alice"
    assert 3590 < told["expires"] - time.time() <= 3600
    assert (home / "ci").stat().st_mode & 0o777 == 0o600
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", home / "ci"], capture_output=True, text=True, check=True
    )
    assert derived.stdout.split()[:2] == (home / "ci.pub").read_text().split()
    assert proven(home, home / "ci-cert.pub") == "alice"
    assert run(*words) == 1
    assert "exists; give it with --key" in capsys.readouterr().err


@pytest.mark.parametrize(("ttl", "told"), [("30s", "good for 30 s"), ("15m", "good for 15 min")])
def test_how_long_it_lasts_is_told(
    home: Path, run: Run, capsys: pytest.CaptureFixture[str], ttl: str, told: str
) -> None:
    assert run("--key", str(home / "ed25519.pub"), "--ttl", ttl) == 0
    said = capsys.readouterr().out
    assert told in said or told.replace("30", "29") in said


def test_one_for_a_ticket_ends_with_it(
    home: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = str(home / "gateway.toml")
    assert main(["ticket", "-c", config, "--name", "alice", "--ttl", "5m"]) == 0
    monkeypatch.setenv("WIREWARDEN_TOKEN", capsys.readouterr().out.strip())
    assert run("--key", str(home / "ed25519.pub"), "--ttl", "12h", "--json", name="") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key_id"] == "local:alice"
    assert 290 < told["expires"] - time.time() <= 300


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--key", "{}/ed25519"), 2, "is a private key; give the public one"),
        (("--key", "{}/none.pub"), 1, "No such file"),
        (("--key", "{}/gateway.toml"), 1, "is not a public key"),
        (("--key", "{}/ed25519.pub", "--ttl", "13h"), 1, "at most 12 hours"),
        (("--key", "{}/ed25519.pub", "--ttl", "x"), 2, "--ttl"),
        (("--key", "{}/ed25519.pub", "--source", "x"), 1, "does not appear"),
        (("--key", "{}/ed25519.pub", "--out", "{}/no/x"), 1, "No such file"),
    ],
)
def test_what_is_refused(
    home: Path,
    run: Run,
    words: tuple[str, ...],
    code: int,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*(word.format(home) for word in words)) == code
    assert why in capsys.readouterr().err
    assert not (home / "ed25519-cert.pub").exists()


def test_a_wrong_proof(
    home: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIREWARDEN_TOKEN", "wrong")
    assert run("--new", str(home / "ci")) == 3
    assert "you are not who you say" in capsys.readouterr().err
    assert not (home / "ci").exists()
