"""SCRAM verifiers, against vectors."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from gateway.identity.keys import VerifierInvalid, derive, matches, parse_verifier, verifier_text

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_rfc_7677_exchange_proves_the_keys() -> None:
    """The proof and signature of RFC 7677 section 3 check out with what we
    store of ``pencil``."""
    stored = derive("pencil", SALT, 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    signature = hmac.digest(stored.stored_key, message, "sha256")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored.stored_key
    server = base64.b64encode(hmac.digest(stored.server_key, message, "sha256"))
    assert server == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_text_and_back() -> None:
    text = verifier_text("pässwörd", b"s" * 16, 5000)
    assert text.startswith("SCRAM-SHA-256$5000:")
    assert parse_verifier(text) == derive("pässwörd", b"s" * 16, 5000)
    assert matches(parse_verifier(text), "pässwörd")
    assert not matches(parse_verifier(text), "password")


def test_saslprep_of_rfc_4013() -> None:
    for one, other in (("IX", "I\u00adX"), ("IX", "\u2168"), ("a", "\u00aa"), ("a b", "a\u00a0b")):
        assert matches(derive(one, SALT), other)
    assert not matches(derive("user", SALT), "USER")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        verifier_text("x", b"s" * 16)[:-1],
        verifier_text("x", b"s" * 16) + "\n",
        verifier_text("x", b"s" * 16).replace("4096", "4095"),
        verifier_text("x", b"s" * 16).replace("4096", "99999999"),
        verifier_text("x", b"s" * 16).replace("256", "1"),
        verifier_text("x", b"s" * 4),
    ],
)
def test_texts_that_are_none(text: str) -> None:
    with pytest.raises(VerifierInvalid) as caught:
        parse_verifier(text)
    assert text == "" or text not in str(caught.value)
