"""Rows 83 to 85 of THREATS.md: forged, borrowed and malformed tokens."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import forge
import pytest
import trio
from forge import AUD, EC, ED, ISS, NOW, RSA, RSA_OTHER, claims, sign_raw, token
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from gateway.identity.errors import Refused
from gateway.identity.oidc import LIMIT, Issuers, Verified, take_apart
from gateway.world import FixedWorld


def issuers(tmp_path: Path, *keys: Any, **change: Any) -> Issuers:
    where = tmp_path / "jwks.json"
    where.write_bytes(forge.jwks(*(keys or (RSA, EC, ED))))
    return Issuers({"example": forge.issuer(where, **change)}, FixedWorld(NOW + 10))


def verify(authority: Issuers, text: str) -> Verified:
    async def run() -> Verified:
        return await authority.verify(text)

    return trio.run(run)


def refusal(authority: Issuers, text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(authority, text)
    # Whatever is wrong, neither text quotes the token.
    for part in text.split("."):
        assert len(part) < 12 or (part not in caught.value.reason + caught.value.public)
    return caught.value


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_an_honest_token_of_each_algorithm_proves(tmp_path: Path, key: Any, alg: str) -> None:
    text = token(
        claims(groups=["dba", "sre"], run_id=77, environment="prod", nested={"a": {"b": True}}),
        key,
        alg,
    )
    verified = verify(issuers(tmp_path), text)
    who = verified.principal
    assert (who.subject, who.issuer, who.kind) == ("repo:a/b", "example", "ci")
    assert who.groups == {"dba", "sre"}
    assert who.run == "77"
    assert who.tags == {"env": "prod"}
    assert who.claims["nested.a.b"] == "true"
    assert who.claims["run_id"] == "77"
    assert "groups" not in who.claims
    assert who.expires == NOW + 300 + 30


def test_a_tampered_payload_or_signature_is_refused(tmp_path: Path) -> None:
    head, body, signature = token().split(".")
    other = forge.b64(json.dumps(claims(sub="root")).encode())
    at = issuers(tmp_path)
    assert "signature" in refusal(at, f"{head}.{other}.{signature}").reason
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[5] ^= 1
    assert "signature" in refusal(at, f"{head}.{body}.{forge.b64(bytes(raw))}").reason
    assert "signature" in refusal(at, token(key=RSA_OTHER)).reason


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_row_83_unsigned(tmp_path: Path, alg: str) -> None:
    head = forge.b64(json.dumps({"alg": alg, "kid": "rsa-1"}).encode())
    body = forge.b64(json.dumps(claims()).encode())
    refusal(issuers(tmp_path), f"{head}.{body}.")
    assert "algorithm" in refusal(issuers(tmp_path), f"{head}.{body}.AAAA").reason


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_row_83_hmac_with_the_public_key(tmp_path: Path, alg: str) -> None:
    for form in (RSA.as_pem(private=False), RSA.as_der(private=False)):
        head = forge.b64(json.dumps({"alg": alg, "kid": "rsa-1"}).encode())
        signed = f"{head}.{forge.b64(json.dumps(claims()).encode())}"
        mac = hmac.digest(form, signed.encode(), "sha" + alg[2:])
        forged = f"{signed}.{forge.b64(mac)}"
        assert "algorithm" in refusal(issuers(tmp_path), forged).reason


def test_row_83_algorithms_are_pinned_per_issuer(tmp_path: Path) -> None:
    at = issuers(tmp_path, algorithms=("RS256",))
    assert verify(at, token())
    assert "algorithm" in refusal(at, token(key=EC, algorithm="ES256")).reason
    assert "algorithm" in refusal(at, token(algorithm="RS512")).reason
    assert "algorithm" in refusal(at, token(algorithm="PS256")).reason


def test_row_83_the_key_type_must_match_the_algorithm(tmp_path: Path) -> None:
    # ES256 announced for a kid that is an RSA key, and the reverse.
    at = issuers(tmp_path)
    assert "no key" in refusal(at, token(key=EC, algorithm="ES256", kid="rsa-1")).reason
    assert "no key" in refusal(at, token(kid="ec-1")).reason


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": RSA_OTHER.as_dict(private=False)},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"], "exp": NOW},
        {"crit": ["https://evil.example/ext"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
    ],
)
def test_row_83_headers_that_bring_keys_or_meanings(tmp_path: Path, extra: dict[str, Any]) -> None:
    at = issuers(tmp_path)
    # Signed by the real key: even then; and by the key that it brings along.
    assert "header holds" in refusal(at, token(**extra)).reason
    refusal(at, token(key=RSA_OTHER, **extra))


def test_headers_without_meaning_are_let_be(tmp_path: Path) -> None:
    assert verify(issuers(tmp_path), token(x5t="abc", cty="JWT", ver="2"))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", 5, ""])
def test_tokens_of_another_type(tmp_path: Path, typ: Any) -> None:
    assert "type" in refusal(issuers(tmp_path), token(typ=typ)).reason


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        ('{"alg":"none","alg":"RS256","kid":"rsa-1"}', json.dumps(claims())),
        ('{"alg":"RS256","kid":"rsa-1"}', json.dumps(claims())[:-1] + ',"sub":"root"}'),
        ('{"alg":"RS256","kid":"rsa-1"}', json.dumps(claims())[:-1] + ',"\\u0073ub":"root"}'),
        ('{"alg":"RS256","kid":"rsa-1"}', json.dumps(claims())[:-1] + ',"a":{"b":1,"b":2}}'),
    ],
)
def test_row_83_duplicate_names(tmp_path: Path, header: str, payload: str) -> None:
    refused = refusal(issuers(tmp_path), sign_raw(header, payload, RSA, "RS256"))
    assert "strict JSON" in refused.reason


NEGATIVE = {
    "no aud": claims(aud=None),
    "other aud": claims(aud="else"),
    "aud with others": claims(aud=[AUD, "else"]),
    "aud twice": claims(aud=[AUD, AUD]),
    "empty aud list": claims(aud=[]),
    "aud is prefix": claims(aud=AUD + "/"),
    "no exp": claims(exp=None),
    "expired": claims(exp=NOW - 60, iat=NOW - 600),
    "expired past the leeway": claims(exp=NOW - 21, iat=NOW - 600),
    "exp is text": claims(exp=str(NOW + 300)),
    "exp is true": claims(exp=True),
    "exp is huge": claims(exp=1 << 60),
    "exp before iat": claims(exp=NOW + 5, iat=NOW + 20),
    "no iat": claims(iat=None),
    "iat in the future": claims(iat=NOW + 100),
    "nbf in the future": claims(nbf=NOW + 100),
    "nbf is text": claims(nbf="soon"),
    "no iss": claims(iss=None),
    "other iss": claims(iss="https://evil.example"),
    "iss with slash": claims(iss=ISS + "/"),
    "iss in capitals": claims(iss=ISS.upper()),
    "iss list": claims(iss=[ISS]),
    "no sub": claims(sub=None),
    "empty sub": claims(sub=""),
    "sub is number": claims(sub=5),
    "sub with newline": claims(sub="a\nb"),
    "sub with an override": claims(sub="a\u202eb"),
    "half a character": claims(other="\ud800"),
    "half a character in a name": claims(nested={"\udfff": 1}),
    "group with escape": claims(groups=["\x1b[2J"]),
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_row_84_claims(tmp_path: Path, name: str) -> None:
    refusal(issuers(tmp_path), token(NEGATIVE[name]))


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN", "9" * 5000])
def test_row_84_times_that_never_pass(tmp_path: Path, number: str) -> None:
    payload = json.dumps(claims(exp=None))[:-1] + f',"exp":{number}}}'
    refusal(issuers(tmp_path), sign_raw('{"alg":"RS256","kid":"rsa-1"}', payload, RSA, "RS256"))


def test_an_audience_list_of_one_is_that_one(tmp_path: Path) -> None:
    assert verify(issuers(tmp_path), token(claims(aud=[AUD])))


def test_what_the_client_learns(tmp_path: Path) -> None:
    at = issuers(tmp_path)
    assert refusal(at, token(key=RSA_OTHER)).public == "the credential was not accepted"
    expired = refusal(at, token(claims(exp=NOW - 60, iat=NOW - 600)))
    assert expired.public == "the token has expired"


def test_max_age_shortens_and_refuses(tmp_path: Path) -> None:
    at = issuers(tmp_path, max_age=60.0, leeway=0.0)
    assert verify(at, token()).until == NOW + 60
    assert "max_age" in refusal(at, token(claims(iat=NOW - 51))).reason


@pytest.mark.parametrize(
    ("ref", "repository_id", "good"),
    [
        ("refs/heads/main", "123", True),
        ("refs/heads/release/1", "123", True),
        ("refs/pull/7/merge", "123", False),
        ("refs/heads/main", "1234", False),
        ("refs/heads/main", None, False),
        ("xrefs/heads/main", "123", False),
        ("refs/heads/main\n", "123", False),
    ],
)
def test_row_85_required_claims(
    tmp_path: Path, ref: str, repository_id: str | None, good: bool
) -> None:
    required = {"repository_id": ("123",), "ref": ("refs/heads/main", "refs/heads/release/*")}
    at = issuers(tmp_path, required=required)
    text = token(claims(ref=ref, repository_id=repository_id))
    if good:
        assert verify(at, text)
    else:
        assert "claim" in refusal(at, text).public


def test_one_issuer_cannot_speak_for_another(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "a.json", tmp_path / "b.json"
    mine.write_bytes(forge.jwks(RSA))
    theirs.write_bytes(forge.jwks(RSA_OTHER))
    at = Issuers(
        {
            "example": forge.issuer(mine),
            "evil": forge.issuer(theirs, name="evil", iss="https://evil.example"),
        },
        FixedWorld(NOW + 10),
    )
    # The other issuer's key carries the same kid.
    assert "signature" in refusal(at, token(key=RSA_OTHER)).reason
    assert verify(at, token(claims(iss="https://evil.example"), RSA_OTHER)).issuer.name == "evil"


def test_kid_is_needed_among_several_keys(tmp_path: Path) -> None:
    assert "no key" in refusal(issuers(tmp_path), token(kid=None)).reason
    assert verify(issuers(tmp_path, RSA), token(kid=None))
    assert "no key" in refusal(issuers(tmp_path, RSA), token(kid="rsa-2")).reason
    assert "kid" in refusal(issuers(tmp_path), token(kid=["rsa-1"])).reason


def test_forms_that_are_no_token(tmp_path: Path) -> None:
    at, good = issuers(tmp_path), token()
    head, body, signature = good.split(".")
    for text in (
        "",
        "..",
        good + "=",
        good + "\n",
        " " + good,
        good + ".x",
        f"{head}.{body}",
        f"{head}.{body}.{signature}é",
        f"{forge.b64(b'[]')}.{body}.{signature}",
        f"{head}.{forge.b64(b'[]')}.{signature}",
        f"{forge.b64(b'[' * 3000)}.{body}.{signature}",
        f"{forge.b64(bytes(range(128, 200)))}.{body}.{signature}",
        "a" * (LIMIT + 1),
    ):
        refusal(at, text)


def test_a_signature_has_one_spelling(tmp_path: Path) -> None:
    """Stray bits after the last character would make a second text for the
    same token, and so a second id."""
    good = token(key=EC, algorithm="ES256")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(good[-1])
    assert last % 16 == 0  # 64 bytes leave four spare bits
    with pytest.raises(Refused, match="canonical"):
        take_apart(good[:-1] + alphabet[last + 1])


def test_the_size_cap_lets_a_nine_kilobyte_token_in(tmp_path: Path) -> None:
    assert verify(issuers(tmp_path), token(claims(pad="x" * 6500)))
    assert "characters" in refusal(issuers(tmp_path), token(claims(pad="x" * 13000))).reason


def test_the_id_of_a_token_is_beyond_its_bearer(tmp_path: Path) -> None:
    at = issuers(tmp_path)
    # ECDSA signatures of one text differ; the id does not, with or without jti.
    for payload in (claims(), claims(jti=None)):
        one, two = (token(payload, EC, "ES256") for _ in range(2))
        assert one != two
        assert verify(at, one).id == verify(at, two).id
    assert verify(at, token()).id != verify(at, token(claims(jti="t2"))).id


def test_weak_or_foreign_keys_in_a_set_are_left_aside(tmp_path: Path) -> None:
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
    p384 = ECKey.generate_key("P-384", {"kid": "p384"})
    at = issuers(tmp_path, RSA, weak, p384)
    assert verify(at, token())
    assert "no key" in refusal(at, token(key=weak)).reason
