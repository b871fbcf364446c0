"""Whatever a stranger or a mad issuer sends: a principal or Refused, no other end."""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import forge
import pytest
import trio
from forge import AUD, ED, ISS, NOW, claims, sign_raw, token
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.identity.bindings import Bindings
from gateway.identity.errors import Refused
from gateway.identity.jwks import JwksInvalid, read_jwks
from gateway.identity.oidc import Issuers, Verified, take_apart
from gateway.world import FixedWorld

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["iss", "aud", "exp", "iat", "nbf", "sub", "jti", "groups", "run_id", "environment", "x"]
)


@cache
def issuers() -> Issuers:
    home = TemporaryDirectory()
    where = Path(home.name, "jwks.json")
    where.write_bytes(forge.jwks(ED))
    found = Issuers({"example": forge.issuer(where)}, FixedWorld(NOW + 10))
    found.home = home  # type: ignore[attr-defined]  (lives as long as they do)
    return found


def verify(text: str) -> Verified | None:
    async def run() -> Verified | None:
        try:
            return await issuers().verify(text)
        except Refused:
            return None

    return trio.run(run)


def test_the_honest_one_passes_here() -> None:
    assert verify(token(key=ED, algorithm="EdDSA"))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_signed_claims_of_any_kind(change: dict[str, Any]) -> None:
    body = {**claims(), **change}
    verified = verify(token(body, ED, "EdDSA"))
    if verified is not None:
        who = verified.principal
        assert body["iss"] == ISS
        assert body["aud"] in (AUD, [AUD])
        assert NOW < verified.until < 1 << 41
        assert isinstance(who.subject, str)
        assert all(t.isprintable() for t in (who.subject, who.run, *who.groups))
        assert all(isinstance(g, str) for g in who.groups)
        assert all(isinstance(v, str) for v in (*who.claims.values(), *who.tags.values(), who.run))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "x5t", "z"]), JSON))
def test_signed_headers_of_any_kind(change: dict[str, Any]) -> None:
    header = {"alg": "EdDSA", "kid": "ed-1", **change}
    verified = verify(sign_raw(json.dumps(header), json.dumps(claims()), ED, "EdDSA"))
    if verified is not None:
        assert (header["alg"], header["kid"]) == ("EdDSA", "ed-1") or header["kid"] == ""
        assert "crit" not in header


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_character_changed(data: st.DataObject) -> None:
    good = token(key=ED, algorithm="EdDSA")
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.=+ \n").filter(lambda c: c != good[at]))
    assert verify(good[:at] + other + good[at + 1 :]) is None


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{2,40}\.\w\w"))
def test_any_text(text: str) -> None:
    try:
        take_apart(text)
    except Refused:
        return
    assert text.count(".") == 2


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps({"keys": [v]}).encode()))
def test_any_key_set(raw: bytes) -> None:
    with pytest.raises(JwksInvalid):
        read_jwks(raw)


def test_row_87_of_many_places_at_once_one_wins(tmp_path: Path) -> None:
    """Each thread stands for a worker process: they share the directory only."""
    for number in range(20):
        won: list[str] = []
        barrier = threading.Barrier(6)

        def race(
            peer: str, won: list[str] = won, barrier: threading.Barrier = barrier, n: int = number
        ) -> None:
            bindings = Bindings(tmp_path, FixedWorld(NOW + int(peer[-1])))
            barrier.wait()
            try:
                bindings.bind(f"{n:064x}", peer, NOW + 5000)
            except Refused:
                return
            won.append(peer)

        threads = [threading.Thread(target=race, args=(f"192.0.2.{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
