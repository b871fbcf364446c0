"""SCRAM against the RFC's example, and against liars."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from protocols.postgres import scram
from protocols.postgres.saslprep import prepared
from protocols.postgres.scram import (
    PLAIN,
    PLUS,
    ScramClient,
    ScramError,
    ScramServer,
    WrongProofError,
    make_verifier,
)

# RFC 7677, section 3.
PASSWORD = b"pencil"
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
OURS = b"rOprNGfwEbeRWgbNEkqO"
THEIRS = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
OUTCOME = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def client(**more: object) -> ScramClient:
    return ScramClient(PASSWORD, OURS, user=b"user", **more)  # type: ignore[arg-type]


def server(binding: bytes | None = None) -> ScramServer:
    return ScramServer(make_verifier(PASSWORD, SALT), THEIRS, binding)


def test_rfc_example_as_client() -> None:
    c = client()
    assert c.first() == FIRST
    assert c.final(CHALLENGE) == FINAL
    c.verify(OUTCOME)


def test_rfc_example_as_server() -> None:
    s = server()
    assert s.challenge(PLAIN, FIRST) == CHALLENGE
    assert s.check(FINAL) == OUTCOME


def talk(c: ScramClient, s: ScramServer) -> None:
    c.verify(s.check(c.final(s.challenge(c.mechanism, c.first()))))


def test_memory_saves_the_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[bytes] = []
    real = scram._salted

    def salted(password: bytes, salt: bytes, iterations: int) -> bytes:
        paid.append(password)
        return real(password, salt, iterations)

    memory: dict[object, object] = {}
    s, again, other = server(), server(), server()
    wrong = ScramServer(make_verifier(b"other", SALT), THEIRS)
    monkeypatch.setattr(scram, "_salted", salted)
    talk(client(memory=memory), s)
    talk(client(memory=memory), again)
    assert paid == [PASSWORD]
    assert PASSWORD not in repr(memory).encode()
    # A changed password is noticed, and a failed login leaves nothing behind.
    kept = dict(memory)
    with pytest.raises(WrongProofError):
        talk(ScramClient(b"other", OURS, memory=memory), other)
    assert paid == [PASSWORD, b"other"]
    assert memory == kept
    talk(ScramClient(b"other", OURS, memory=memory), wrong)
    assert memory != kept
    assert len(memory) == 1


def test_channel_binding_binds() -> None:
    talk(client(binding=b"hash"), server(b"hash"))
    with pytest.raises(ScramError):
        talk(client(binding=b"hash"), server(b"other"))


def test_plain_beside_plus() -> None:
    talk(client(), server(b"hash"))
    talk(client(supports=True), server())
    assert server(b"hash").mechanisms == (PLUS, PLAIN)


def test_downgrade_is_seen() -> None:
    # The client could bind, the server offered it: somebody cut the offer.
    with pytest.raises(ScramError):
        talk(client(supports=True), server(b"hash"))


def test_binding_without_offer() -> None:
    with pytest.raises(ScramError):
        server().challenge(PLUS, client(binding=b"hash").first())
    with pytest.raises(ScramError):
        server().challenge(PLAIN, client(binding=b"hash").first())


def test_wrong_password() -> None:
    s = server()
    c = ScramClient(b"pencils", OURS)
    final = c.final(s.challenge(PLAIN, c.first()))
    with pytest.raises(WrongProofError):
        s.check(final)


def test_server_that_does_not_know() -> None:
    c = client()
    c.final(CHALLENGE)
    with pytest.raises(WrongProofError):
        c.verify(b"v=" + b64encode(bytes(32)))
    with pytest.raises(WrongProofError):
        client().verify(OUTCOME)
    with pytest.raises(ScramError):
        c.verify(b"e=invalid-proof")


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        CHALLENGE.replace(b"rOpr", b"xOpr"),
        b"r=" + OURS + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"i=4096", b"i=4095"),
        CHALLENGE.replace(b"i=4096", b"i=1000001"),
        CHALLENGE.replace(b"i=4096", b"i=99999999999999999999"),
        CHALLENGE.replace(b"i=4096", b"i=+4096"),
        CHALLENGE.replace(b"i=4096", b"i=04096"),
        CHALLENGE.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s="),
        CHALLENGE.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s=W22*aJ0SNY7soEsUEjb6gQ=="),
        b"m=x," + CHALLENGE,
        CHALLENGE + b",x=y",
    ],
)
def test_bad_challenges(challenge: bytes) -> None:
    with pytest.raises(ScramError):
        client().final(challenge)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,,",
        b"n,a=root,n=user,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"z,,n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",
    ],
)
def test_bad_firsts(first: bytes) -> None:
    with pytest.raises(ScramError):
        server().challenge(PLAIN, first)


@pytest.mark.parametrize(
    "final",
    [
        b"",
        FINAL[:-1],
        FINAL.replace(b"c=biws", b"c=eSws"),
        FINAL.replace(b"r=rOpr", b"r=xOpr"),
        FINAL + b",p=AAAA",
        FINAL.rpartition(b",p=")[0],
    ],
)
def test_bad_finals(final: bytes) -> None:
    s = server()
    s.challenge(PLAIN, FIRST)
    with pytest.raises(ScramError):
        s.check(final)


def test_final_before_first() -> None:
    with pytest.raises(ScramError):
        server().check(FINAL)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("I\u00adX", "IX"),  # RFC 4013, section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u00e9\u0007", "\u00e9\u0007"),  # prohibited: as it is
        ("\u0627\u0031", "\u0627\u0031"),  # not right-to-left to its end: as it is
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("\u00ad", "\u00ad"),  # nothing left: as it is
    ],
)
def test_saslprep(given: str, wanted: str) -> None:
    assert prepared(given.encode()) == wanted.encode()


def test_saslprep_of_other_bytes() -> None:
    assert prepared(b"caf\xe9") == b"caf\xe9"
