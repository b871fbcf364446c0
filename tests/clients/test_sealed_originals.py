"""Originals behind masks as an auditor gets at them, and as nobody else does: a real gateway
with two auditors in front of PostgreSQL, and a witness on each leg."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from audit import Tapped, wait_sealed

from recorder.evidence.inbox import ledger_directory
from recorder.evidence.ledger import Ledger
from recorder.keys import new_pair
from recorder.state import keys_path

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("sealed")]

POLICY = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "personal"
on = "sql.*"
verdict = "mask"
mask = [{ columns = ["*.email", "*.ssn"], with = "redact" }]
unresolved = "mask"
detect = ["ssn"]
message = "personal data"
"""
CLEAR = (b"ada@example.com", b"219-09-9999", b"grace@example.org")


@dataclass
class Case:
    """A stopped gateway, its auditors' keys, and what the witnesses saw of its session."""

    stack: Tapped
    keys: Path
    session: str
    state: Path

    @property
    def wire(self) -> Any:
        assert len(self.stack.upstream_tap.wires) >= 1
        return max(self.stack.upstream_tap.wires, key=lambda wire: len(wire.to_client))

    def recorder(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "recorder.cli", "--dir", str(self.state), *words],
            capture_output=True,
            timeout=30,
            check=False,
        )

    def files(self) -> list[Path]:
        return [path for path in self.state.rglob("*") if path.is_file()]

    def key(self, name: str = "one") -> tuple[str, str]:
        return "--key", str(self.keys / f"{name}.key")


def played(gateways: Callable[..., Any], keys: Path, recording: str) -> Case:
    new_pair(keys, "one")
    new_pair(keys, "two")
    new_pair(keys, "stranger")
    auditors = f'auditors = ["{keys}/one.pub", "{keys}/two.pub"]\n'
    stack = gateways(Tapped, policy=POLICY, recording=auditors + recording)
    with stack.connect("shop") as connection:
        rows = connection.execute("SELECT name, email, ssn FROM users ORDER BY id").fetchall()
        assert rows[0][0] == "Ada"
        with connection.cursor().copy("COPY (SELECT email FROM users) TO STDOUT") as copy:
            assert b"ada@" not in b"".join(map(bytes, copy))
        with pytest.raises(psycopg.Error) as found:
            connection.execute("SELECT email::int FROM users")
        assert "ada@" not in str(found.value)
    wait_sealed(stack)
    stack.stop()
    rows = [json.loads(line) for line in stack.recorder("list", "--json").stdout.splitlines()]
    assert len(rows) == 1
    return Case(stack, keys, rows[0]["session"], stack.state)


@pytest.fixture(scope="module")
def sealed(gateways: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Case:
    keys = tmp_path_factory.mktemp("keys")
    return played(gateways, keys, 'originals = "seal"\ncredentials = "seal"\n')


@pytest.fixture(scope="module")
def withheld(gateways: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Case:
    return played(gateways, tmp_path_factory.mktemp("keys"), 'originals = "withhold"\n')


def test_each_auditor_gets_the_very_bytes(sealed: Case) -> None:
    for name in ("one", "two"):
        done = sealed.recorder("cat", sealed.session, "--leg", "upstream", "--side", "in",
                               *sealed.key(name))  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == bytes(sealed.wire.to_client)
        assert all(value in done.stdout for value in CLEAR)
    done = sealed.recorder("cat", sealed.session, "--leg", "upstream", "--side", "out",
                           *sealed.key())  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == bytes(sealed.wire.to_upstream)


def test_what_the_client_proves_itself_with_is_never_kept(sealed: Case) -> None:
    done = sealed.recorder("cat", sealed.session, "--leg", "client", "--side", "in", *sealed.key())
    assert done.returncode == 3
    assert b"a credential, never stored" in done.stderr
    seen = bytes(sealed.stack.client_tap.wires[0].to_upstream)  # type: ignore[union-attr]
    token = re.search(rb"eyJ[^\0]+", seen)
    assert token is not None
    assert token[0] not in done.stdout
    assert all(token[0] not in path.read_bytes() for path in sealed.files())


def test_unseal_tells_each_original(sealed: Case) -> None:
    done = sealed.recorder("unseal", sealed.session, "--json", *sealed.key("two"))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    masks = [item for item in found if item["what"] == "original"]
    assert {item["kept"] for item in found} == {"sealed"}
    originals = [bytes.fromhex(item["original"]) for item in masks]
    assert all(any(value in raw for raw in originals) for value in CLEAR)
    assert any(b"C22P02" in raw and b"ada@example.com" in raw for raw in originals)
    for item in found:  # a span is where it says it is
        way = sealed.wire.to_client if item["side"] == "in" else sealed.wire.to_upstream
        if item["leg"] == "upstream":
            raw = bytes(way[item["offset"] : item["offset"] + item["length"]])
            assert raw.hex() == item["original"]
    assert {item["what"] for item in found} == {"original", "credential"}
    told = sealed.recorder("unseal", sealed.session, *sealed.key())
    assert told.returncode == 0
    assert b"ada@example.com" in told.stdout
    assert b"\0" not in told.stdout


def test_without_a_key_nothing_opens(sealed: Case, tmp_path: Path) -> None:
    for words, why in (
        ((), b"sealed to "),
        (sealed.key("stranger"), b"of its auditors"),
        (("--key", str(tmp_path / "none")), b"can't be read"),
    ):
        done = sealed.recorder("unseal", sealed.session, *words)
        assert done.returncode == 6, words
        assert done.stdout == b""
        assert why in done.stderr
    done = sealed.recorder("cat", sealed.session, "--leg", "upstream", "--side", "in")
    assert done.returncode == 3
    assert b"give the auditor's key" in done.stderr
    assert not any(value in done.stdout for value in CLEAR)


def test_the_gateway_can_not_read_them_back(sealed: Case) -> None:
    """Nothing in its state has an original or a private key, nor opens one."""
    private = (sealed.keys / "one.key").read_bytes()
    for path in sealed.files():
        raw = path.read_bytes()
        assert not any(value in raw for value in (*CLEAR, private)), path
    # Whatever lies there, taken for an auditor's key, opens nothing.
    for path in (path for path in sealed.files() if path.suffix == ".key"):
        done = sealed.recorder("unseal", sealed.session, "--key", str(path))
        assert done.returncode == 6, path
    shown = sealed.recorder("keys", "show", sealed.session, "--json")
    told = json.loads(shown.stdout)
    assert len(told["auditors"]) == 2
    assert told["keys"] == "there"


def test_commitments_are_compared_with_a_candidate(withheld: Case, tmp_path: Path) -> None:
    done = withheld.recorder("unseal", withheld.session, *withheld.key())
    assert done.returncode == 6
    assert b"withheld for good" in done.stderr
    assert not any(value in done.stdout for value in CLEAR)
    witness = tmp_path / "witness"
    witness.write_bytes(withheld.wire.to_client)
    words = ("unseal", withheld.session, *withheld.key(), "--json", "--candidate", str(witness))
    done = withheld.recorder(*words)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) >= 3
    assert all(item["is_candidate"] for item in found)
    witness.write_bytes(bytes(withheld.wire.to_client).replace(b"219-09-9999", b"219-09-9998"))
    done = withheld.recorder(*words)
    assert done.returncode == 5
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {item["is_candidate"] for item in found} == {True, False}


def test_an_erased_key_shreds_and_the_rest_verifies(sealed: Case, tmp_path: Path) -> None:
    state = shutil.copytree(sealed.state, tmp_path / "state")
    copy = replace(sealed, state=state)

    def verdict() -> dict[str, Any]:
        done = copy.recorder("verify", sealed.session, "--json")
        assert done.returncode == 0, done.stdout
        return dict(json.loads(done.stdout))

    before = verdict()
    log = next((state / "sessions").rglob(f"{sealed.session}.agr"))
    raw = log.read_bytes()
    told = json.loads(keys_path(log).read_bytes())["keys"]
    wrapped = [base64.b64decode(each["key"]) for each in told]
    assert len(wrapped) == 2
    assert all(key not in raw for key in wrapped)
    held = copy.recorder("hold", "add", sealed.session, "--reason", "suit")
    assert held.returncode == 0
    erase = ("keys", "erase", sealed.session, "--reason", "asked to by Ada", "--by", "dpo")
    done = copy.recorder(*erase)
    assert done.returncode == 1
    assert b"suit" in done.stderr
    hold = json.loads(copy.recorder("hold", "list", "--json").stdout)["id"]
    copy.recorder("hold", "rm", hold, "--reason", "over")
    (state / "uploaded.json").write_text('{"store": "s3://audit/logs", "days": {}}')
    done = copy.recorder(*erase)
    assert done.returncode == 1
    assert b"a copy of them is in s3://audit/logs" in done.stderr
    (state / "uploaded.json").unlink()
    assert keys_path(log).exists()
    done = copy.recorder(*erase)
    assert done.returncode == 0, done.stderr
    assert not keys_path(log).exists()
    assert log.read_bytes() == raw
    assert not any(key in path.read_bytes() for path in copy.files() for key in wrapped)
    for name in ("one", "two"):
        for command in (("unseal",), ("cat", "--leg", "upstream", "--side", "in")):
            done = copy.recorder(*command, sealed.session, *sealed.key(name))
            assert done.returncode == 6
            assert b"erased" in done.stderr
    after = verdict()
    assert after["status"] == before["status"] == "OK-UNANCHORED"
    done = copy.recorder("keys", "show", sealed.session)
    assert done.returncode == 6
    assert copy.recorder(*erase).returncode == 1
    # A gateway that starts again puts what happened into the ledger.
    ledger = Ledger(ledger_directory(state), time.time_ns)
    ledger.take_inbox()
    ledger.close()
    assert "erased by dpo: asked to by Ada" in verdict()["message"]
