"""Keys and certificates: row 6 of the threats (a certificate as authority, principals,
options), and certificates that ssh-keygen made against ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import forge
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, LimitsConfig, PrincipalConfig, RecordingConfig
from gateway.identity.authority import Authority
from gateway.identity.errors import Refused
from gateway.identity.public_keys import PublicKey, public_key
from gateway.identity.ssh_ca import EXTENSION, MOST_TTL, SshCa, name_of
from gateway.key_file import fresh_key, own_key, private_key
from gateway.policy.principal import Principal
from gateway.world import FixedWorld
from protocols.contract import Proof

NOW = 1_700_000_000
PEER = "192.0.2.7"
AGENT = Principal(
    "repo:a/b:ref:x", "example", "agent", frozenset({"g"}), "run-7", {"t": "1"}, {"c": "2"}
)


def line_of(raw: bytes) -> PublicKey:
    public = private_key(raw).public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_key(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


@pytest.fixture(scope="module")
def holder() -> PublicKey:
    return line_of(fresh_key())


@pytest.fixture
def authority(tmp_path: Path, holder: PublicKey) -> Authority:
    (tmp_path / "jwks.json").write_bytes(forge.jwks(forge.RSA))
    principals = {
        "alice": PrincipalConfig("alice", groups=frozenset({"leads"}), ssh_keys=(holder.line,)),
        "bob": PrincipalConfig("bob", groups=frozenset({"dba"})),
    }
    config = Config(
        path=tmp_path / "gateway.toml",
        state=tmp_path / "state",
        policy=tmp_path / "policy.toml",
        workers=1,
        recording=RecordingConfig(),
        limits=LimitsConfig(),
        listeners=(),
        issuers={"example": forge.issuer(tmp_path / "jwks.json")},
        principals=principals,
        targets={},
    )
    return Authority(config, FixedWorld(NOW))


def blob_of(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def prove(at: Authority, blob: bytes, peer: str = PEER) -> Principal:
    async def run() -> Principal:
        return await at.prove(Proof(1, "anyone", key=blob), peer)

    proven: Principal | Refused
    try:
        proven = trio.run(run)
    except Refused as refused:
        proven = refused
    assert at.accepts_key(blob, peer) is isinstance(proven, Principal)
    if isinstance(proven, Refused):
        raise proven
    return proven


def issue(at: Authority, key: PublicKey, who: Principal = AGENT, **more: Any) -> bytes:
    return blob_of(at.ssh_keys.authority.issue(key, who, more.pop("ttl", 900), **more).line)


def test_registered_keys(authority: Authority, holder: PublicKey) -> None:
    alice = prove(authority, holder.blob)
    assert (alice.subject, alice.issuer, *alice.groups) == ("alice", "local", "leads")
    assert authority.ssh_keys.facts(holder.blob, PEER) == {
        "method": "key",
        "fingerprint": holder.fingerprint,
    }
    with pytest.raises(Refused, match="unknown key SHA256:"):
        prove(authority, line_of(fresh_key()).blob)
    for blob in (b"", b"\0", b"\xff" * 40, holder.blob[:-1], holder.blob + b"\0"):
        with pytest.raises(Refused):
            prove(authority, blob)


def test_a_certificate_carries_the_principal(authority: Authority, holder: PublicKey) -> None:
    issued = authority.ssh_keys.authority.issue(holder, AGENT, 900)
    found = prove(authority, blob_of(issued.line))
    assert found == replace(AGENT, expires=float(NOW + 900))
    assert issued.expires == NOW + 900
    facts = authority.ssh_keys.facts(blob_of(issued.line), PEER)
    assert (facts["method"], facts["serial"]) == ("certificate", issued.serial)
    assert facts["key_id"] == "example:repo:a/b:ref:x run run-7"


def test_openssh_reads_it(authority: Authority, holder: PublicKey, tmp_path: Path) -> None:
    issued = authority.ssh_keys.authority.issue(holder, AGENT, 900, "192.0.2.0/24,2001:db8::/32")
    (tmp_path / "c-cert.pub").write_text(issued.line + " comment\n")
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", tmp_path / "c-cert.pub"],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"},
    ).stdout  # fmt: skip
    assert "user certificate" in shown
    assert f"Serial: {issued.serial}" in shown
    assert 'Key ID: "example:repo:a/b:ref:x run run-7"' in shown
    assert "Valid: from 2023-11-14T22:12:20 to 2023-11-14T22:28:20" in shown
    assert "source-address 192.0.2.0/24,2001:db8::/32" in shown
    assert EXTENSION.decode() in shown
    assert shown.split("Principals:")[1].split()[0] == name_of(AGENT.subject)


def test_source_addresses(authority: Authority, holder: PublicKey) -> None:
    blob = issue(authority, holder, source="192.0.2.0/24,2001:db8::1")
    for peer in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1"):
        assert prove(authority, blob, peer).subject == AGENT.subject
    for peer in ("192.0.3.9", "2001:db8::2", "", "localhost", "/run/socket"):
        with pytest.raises(Refused, match="other addresses"):
            prove(authority, blob, peer)
    with pytest.raises(ValueError, match="host bits"):
        issue(authority, holder, source="192.0.2.1/24")


def test_the_time_counts(authority: Authority, holder: PublicKey) -> None:
    blob = issue(authority, holder)
    world: Any = authority._world
    world.pass_time(899)
    prove(authority, blob)
    world.pass_time(1)
    with pytest.raises(Refused, match="expired"):
        prove(authority, blob)
    world.jump(-1000)
    with pytest.raises(Refused, match="not count yet"):
        prove(authority, blob)
    for ttl in (0, -1, MOST_TTL + 1):
        with pytest.raises(ValueError, match="at most 12 hours"):
            issue(authority, holder, ttl=ttl)


def test_who_is_not_configured_any_more(authority: Authority, holder: PublicKey) -> None:
    bob = Principal("bob", "local", "ci", frozenset({"root"}), "r")
    found = prove(authority, issue(authority, holder, bob))
    # What the file says now, not what was said at the time of issue.
    assert (*found.groups, found.kind, found.run) == ("dba", "person", "r")
    for gone in (Principal("carol", "local"), Principal("x", "no-issuer")):
        with pytest.raises(Refused):
            prove(authority, issue(authority, holder, gone))


def test_names_that_part_principals(authority: Authority, holder: PublicKey) -> None:
    odd = replace(AGENT, subject="a,b c\u00e9%2C")
    assert "," not in name_of(odd.subject)
    assert prove(authority, issue(authority, holder, odd)).subject == odd.subject


def test_what_is_not_certified(authority: Authority) -> None:
    ca = authority.ssh_keys.authority
    sk = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIJ5Xm5ggyzC3dmWNCnNDqgTc9NbD6oeDSzvQmMCHjF2v"
    sk_key = public_key(f"sk-ssh-ed25519@openssh.com {sk}AAAABHNzaDo=")
    with pytest.raises(ValueError, match="security key"):
        ca.issue(sk_key, AGENT, 900)
    with pytest.raises(ValueError, match="too many claims"):
        ca.issue(line_of(fresh_key()), replace(AGENT, claims={"x": "y" * 40_000}), 900)


Sign = Callable[..., bytes]
INSIDE = {
    "version": 1, "subject": "s", "issuer": "example", "kind": "ci", "groups": [], "run": "",
    "tags": {}, "claims": {},
}  # fmt: skip


@pytest.fixture
def sign(authority: Authority, holder: PublicKey, tmp_path: Path) -> Sign:
    """A certificate by ssh-keygen and our own authority's key."""
    authority.ssh_keys.authority.issue(holder, AGENT, 900)
    ca = tmp_path / "state" / "ssh_ca"
    (tmp_path / "h.pub").write_text(holder.line + "\n")

    def run(
        *options: str,
        names: str = "s",
        inside: object = INSIDE,
        valid: str = "20231114221000:20231114223000",
        key: Path = ca,
    ) -> bytes:
        text = inside if isinstance(inside, str) else json.dumps(inside)
        words = ["ssh-keygen", "-q", "-s", str(key), "-I", "id", "-V", valid, "-z", "5"]
        words += ["-n", names] if names else []
        words += ["-O", "clear", "-O", f"extension:principal@wirewarden={text}", *options]
        subprocess.run(
            [*words, str(tmp_path / "h.pub")],
            check=True, capture_output=True, env={**os.environ, "TZ": "UTC"},
        )  # fmt: skip
        return blob_of((tmp_path / "h-cert.pub").read_text())

    return run


def test_ssh_keygen_makes_one_like_ours(authority: Authority, sign: Sign) -> None:
    assert prove(authority, sign()).subject == "s"
    assert prove(authority, sign("-O", "source-address=192.0.2.0/24")).subject == "s"
    assert prove(authority, sign("-O", "permit-pty")).subject == "s"


@pytest.mark.parametrize(
    ("options", "change", "why"),
    [
        ((), {"names": ""}, "principals"),
        ((), {"names": "s,root"}, "principals"),
        ((), {"names": "root"}, "principals"),
        ((), {"names": "s,s"}, "principals"),
        (("-h",), {}, "for hosts"),
        (("-O", "force-command=id"), {}, "critical option b'force-command'"),
        (("-O", "verify-required"), {}, "critical option"),
        (("-O", "critical:x@y=1"), {}, "critical option"),
        (("-O", "source-address=198.51.100.0/24"), {}, "other addresses"),
        ((), {"valid": "always:20231114223000"}, "longer than any"),
        ((), {"valid": "20231114220000:20231115103000"}, "longer than any"),
        ((), {"valid": "20231114210000:20231114221300"}, "expired"),
        ((), {"valid": "20231114221400:20231114223000"}, "not count yet"),
        ((), {"inside": ""}, "can't be read|without a principal"),
        ((), {"inside": "{"}, "can't be read"),
        ((), {"inside": {**INSIDE, "version": 2}}, "can't be read"),
        ((), {"inside": {**INSIDE, "groups": [1]}}, "can't be read"),
        ((), {"inside": {**INSIDE, "subject": ""}}, "for nobody"),
        ((), {"inside": '{"version":1,"version":1}'}, "can't be read"),
    ],
)
def test_row_6_what_a_certificate_must_not_say(
    authority: Authority, sign: Sign, options: tuple[str, ...], change: dict[str, Any], why: str
) -> None:
    blob = sign(*options, **change)
    with pytest.raises(Refused, match=why):
        prove(authority, blob)


def test_row_6_who_signed(authority: Authority, sign: Sign, tmp_path: Path) -> None:
    other = tmp_path / "other"
    own_key(other)
    with pytest.raises(Refused, match="another authority"):
        prove(authority, sign(key=other))
    good = sign()
    forged = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(Refused, match="false signature"):
        prove(authority, forged)


def test_row_6_signed_by_a_certificate(
    authority: Authority, sign: Sign, holder: PublicKey, tmp_path: Path
) -> None:
    """The signature key is itself a certificate of ours: PROTOCOL.certkeys forbids it."""
    blob = sign()
    ca = line_of((tmp_path / "state" / "ssh_ca").read_bytes()).blob
    assert blob.count(ca) == 1
    chained = blob.replace(len(ca).to_bytes(4, "big") + ca, len(blob).to_bytes(4, "big") + blob, 1)
    with pytest.raises(Refused):
        prove(authority, chained)


def test_the_authoritys_file(authority: Authority, sign: Sign, tmp_path: Path) -> None:
    blob, where = sign(), tmp_path / "state" / "ssh_ca"
    assert where.stat().st_mode & 0o777 == 0o600
    prove(authority, blob)
    where.chmod(0o644)
    with pytest.raises(Refused, match="open to others"):
        prove(authority, blob)
    where.chmod(0o600)
    prove(authority, blob)
    where.unlink()
    with pytest.raises(Refused, match="issued none"):
        prove(authority, blob)
    assert SshCa(tmp_path / "state", FixedWorld(NOW)).issue(line_of(fresh_key()), AGENT, 9)
    with pytest.raises(Refused, match="another authority"):
        prove(authority, blob)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_refused_and_nothing_else(data: st.DataObject) -> None:
    authority, good = _GOOD[0]
    at = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, 9))
    put = data.draw(st.binary(max_size=9))
    changed = good[:at] + put + good[at + cut :]
    if changed != good:
        assert not authority.accepts_key(changed, PEER)


_GOOD: list[tuple[Authority, bytes]] = []


@pytest.fixture(autouse=True)
def _good(authority: Authority, holder: PublicKey) -> None:
    if not _GOOD:
        blob = issue(authority, holder)
        assert authority.accepts_key(blob, PEER)
        _GOOD.append((authority, blob))


def test_a_principal_without_a_password_has_none(authority: Authority) -> None:
    assert authority.offer("bob").verifier is None

    async def run() -> None:
        await authority.prove(Proof(1, "bob", b""), PEER)

    with pytest.raises(Refused, match="no password"):
        trio.run(run)
