"""Proofs of every form, and row 87: a token that moves to another address."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import forge
import pytest
import trio
from forge import NOW, RSA, RSA_OTHER, claims, token

from gateway.config import Config, LimitsConfig, PrincipalConfig, RecordingConfig
from gateway.identity.authority import Authority
from gateway.identity.bindings import Bindings
from gateway.identity.errors import Refused
from gateway.identity.keys import parse_verifier, verifier_text
from gateway.policy.principal import Principal
from gateway.secrets.references import Secret
from gateway.world import FixedWorld
from protocols.contract import Proof

VERIFIER = verifier_text("pencil", b"0123456789abcdef")


def config(tmp_path: Path, **change: Any) -> Config:
    where = tmp_path / "jwks.json"
    where.write_bytes(forge.jwks(RSA))
    principals = {
        "alice": PrincipalConfig("alice", VERIFIER, frozenset({"dba"}), "person", {"t": "1"}),
        "bob": PrincipalConfig("bob", Secret("ref+file://bob", tmp_path)),
    }
    fields: dict[str, Any] = {
        "path": tmp_path / "gateway.toml",
        "state": tmp_path / "state",
        "policy": tmp_path / "policy.toml",
        "workers": 1,
        "recording": RecordingConfig(),
        "limits": LimitsConfig(),
        "listeners": (),
        "issuers": {"example": forge.issuer(where)},
        "principals": principals,
        "targets": MappingProxyType({}),
        **change,
    }
    return Config(**fields)


def authority(tmp_path: Path, **change: Any) -> Authority:
    return Authority(config(tmp_path, **change), FixedWorld(NOW + 10))


def prove(
    at: Authority,
    secret: bytes | str | None,
    claimed: str = "x",
    peer: str = "192.0.2.1",
    scram: bool = False,
) -> Principal:
    raw = secret.encode() if isinstance(secret, str) else secret

    async def run() -> Principal:
        return await at.prove(Proof(1, claimed, raw, scram), peer)

    return trio.run(run)


def test_offers(tmp_path: Path) -> None:
    at = authority(tmp_path)
    assert at.offer("alice").verifier == parse_verifier(VERIFIER)
    assert at.offer("nobody").verifier is None
    assert at.offer("bob").verifier is None  # its password can't be had
    (tmp_path / "bob").write_text("hunter2\n")
    offered = at.offer("bob").verifier
    assert offered is not None
    assert at.offer("bob").verifier == offered  # one salt for as long as the password lasts
    (tmp_path / "bob").write_text("other\n")
    assert at.offer("bob").verifier != offered
    (tmp_path / "bob").write_text(VERIFIER)
    assert at.offer("bob").verifier == parse_verifier(VERIFIER)


def test_scram_and_cleartext_of_a_local_principal(tmp_path: Path) -> None:
    at = authority(tmp_path)
    who = prove(at, None, "alice", scram=True)
    assert (who.subject, who.issuer, who.kind, who.expires) == ("alice", "local", "person", 0.0)
    assert who.groups == {"dba"}
    assert who.tags == {"t": "1"}
    assert prove(at, "pencil", "alice") == who
    for secret, claimed in (("pencil", "bob"), ("Pencil", "alice"), ("", "alice"), ("x", "eve")):
        with pytest.raises(Refused):
            prove(at, secret, claimed)
    with pytest.raises(Refused):
        prove(at, None, "eve", scram=True)


def test_a_verifier_is_no_password(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        prove(authority(tmp_path), VERIFIER, "alice")


def test_a_token_says_who_it_is_whatever_the_name(tmp_path: Path) -> None:
    at = authority(tmp_path)
    assert prove(at, token(), "alice").subject == "repo:a/b"
    with pytest.raises(Refused):
        prove(at, token(key=RSA_OTHER), "alice")


def test_a_ticket_for_a_token(tmp_path: Path) -> None:
    at = authority(tmp_path)
    ticket = at.tickets.mint(prove(at, token(claims(groups=["g"]))))
    who = prove(at, ticket, "any")
    assert (who.subject, who.issuer, who.groups) == ("repo:a/b", "example", frozenset({"g"}))


@pytest.mark.parametrize("secret", [None, b"", b"\xff\xfe", b"x" * 20_000, b"wwt_x", b"ey.ey.ey"])
def test_no_proof(tmp_path: Path, secret: bytes | None) -> None:
    with pytest.raises(Refused) as caught:
        prove(authority(tmp_path), secret)
    assert "alice" not in caught.value.public


def test_row_87_a_token_is_bound_to_its_first_address(tmp_path: Path) -> None:
    at = authority(tmp_path)
    assert prove(at, token(), peer="192.0.2.1")
    assert prove(at, token(), peer="192.0.2.1")
    assert prove(at, token(), peer="::ffff:192.0.2.1")
    with pytest.raises(Refused, match="first used from") as caught:
        prove(at, token(), peer="192.0.2.2")
    assert "192.0.2.1" not in caught.value.public
    assert prove(at, token(claims(jti="other")), peer="192.0.2.2")
    # Another worker process, or this one started anew, knows it too.
    with pytest.raises(Refused, match="first used from"):
        prove(authority(tmp_path), token(), peer="192.0.2.2")
    assert prove(authority(tmp_path), token(), peer="")  # the command line


def test_row_87_without_jti_and_resigned(tmp_path: Path) -> None:
    at = authority(tmp_path)
    bare = claims(jti=None)
    assert prove(at, token(bare), peer="192.0.2.1")
    with pytest.raises(Refused, match="first used from"):
        prove(at, token(bare), peer="192.0.2.2")


def test_row_87_a_refused_token_binds_nothing(tmp_path: Path) -> None:
    at = authority(tmp_path)
    with pytest.raises(Refused):
        prove(at, token(key=RSA_OTHER), peer="192.0.2.66")
    assert prove(at, token(), peer="192.0.2.1")


def test_binding_can_be_switched_off(tmp_path: Path) -> None:
    issuers: Mapping[str, Any] = {"e": forge.issuer(tmp_path / "jwks.json", bind="none")}
    at = authority(tmp_path, issuers=issuers)
    assert prove(at, token(), peer="192.0.2.1")
    assert prove(at, token(), peer="192.0.2.2")


def test_ipv6_is_bound_by_its_network(tmp_path: Path) -> None:
    bindings = Bindings(tmp_path, FixedWorld(NOW))
    bindings.bind("a" * 64, "2001:db8::1", NOW + 60)
    bindings.bind("a" * 64, "2001:db8::ffff:2", NOW + 60)
    with pytest.raises(Refused):
        bindings.bind("a" * 64, "2001:db8:0:1::1", NOW + 60)


def test_bindings_are_forgotten_with_their_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.bindings.MOST_TOKENS", 3)
    world = FixedWorld(NOW)
    bindings = Bindings(tmp_path, world)
    for n in "123":
        bindings.bind(n * 64, "192.0.2.1", NOW + 60)
    with pytest.raises(Refused, match="too many"):
        bindings.bind("4" * 64, "192.0.2.1", NOW + 60)
    bindings.bind("1" * 64, "192.0.2.1", NOW + 60)
    world.pass_time(400)
    bindings.bind("4" * 64, "192.0.2.1", NOW + 600)
    assert [p.name for p in (tmp_path / "tokens").iterdir()] == ["4" * 64]


def test_a_binding_that_cannot_be_kept_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(Refused, match="written down"):
        prove(authority(tmp_path), token())
