"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both ends (RFC 5802, RFC 7677).

Pure: nonces come in as arguments, so the RFC's example is a test.  As in
PostgreSQL the name inside the exchange is not looked at (the startup packet
has said it), extensions are refused, and the one type of channel binding is
``tls-server-end-point`` (RFC 5929).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode

from protocols.contract import Verifier

PLAIN = "SCRAM-SHA-256"
PLUS = "SCRAM-SHA-256-PLUS"
MIN_ITERATIONS = 4096
"""RFC 7677, section 4. Fewer would let a false server buy a cheap proof."""
MAX_ITERATIONS = 1_000_000
"""About half a second of CPU: a server can't make us work longer than that."""

MEMORY_KEY = "postgres.scram"
"""Where ``ScramClient`` keeps its one entry."""

_BINDING_HEADER = b"p=tls-server-end-point,,"
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_COUNT = re.compile(rb"[1-9][0-9]{0,9}")


class ScramError(Exception):
    """The exchange can't go on. The text quotes nothing of it."""


class WrongProofError(ScramError):
    """A well-formed message that proves nothing: a wrong password, or, from a
    server, a signature of somebody who does not know the verifier."""


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ScramError("malformed base64 in a SCRAM message") from None


def _values(message: bytes, *letters: str) -> list[bytes]:
    """The values of a message that has exactly these attributes, in order."""
    parts = message.split(b",")
    if len(parts) != len(letters):
        raise ScramError("a SCRAM message with missing or unknown attributes")
    for part, letter in zip(parts, letters, strict=True):
        if part[:2] != letter.encode() + b"=":
            raise ScramError("a SCRAM message with missing or unknown attributes")
    return [part[2:] for part in parts]


def _salted(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


def make_verifier(password: bytes, salt: bytes, iterations: int = MIN_ITERATIONS) -> Verifier:
    """What a server keeps of ``password`` (already prepared, see saslprep)."""
    salted = _salted(password, salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return Verifier(salt, iterations, stored, _hmac(salted, b"Server Key"))


class ScramClient:
    """The side that knows the password: ``first``, ``final``, ``verify``.

    ``nonce`` is our part, printable ASCII without a comma. ``binding`` makes
    it the PLUS mechanism; without it, ``supports`` True tells the server that
    we could bind and were not offered to, by which it detects a downgrade.

    ``memory`` keeps the last salted password of a server that has proven
    itself, so that the next login does not pay for its iterations again
    (RFC 5802, section 3, allows it); it is as good as the password.
    """

    __slots__ = (
        "_bare",
        "_bound",
        "_gs2",
        "_memory",
        "_nonce",
        "_password",
        "_salted",
        "_signature",
        "mechanism",
    )

    def __init__(
        self,
        password: bytes,
        nonce: bytes,
        binding: bytes | None = None,
        *,
        supports: bool = False,
        user: bytes = b"",
        memory: dict[object, object] | None = None,
    ) -> None:
        self._memory: dict[object, object] = {} if memory is None else memory
        self._salted: tuple[object, bytes] = ((), b"")
        self._password = password
        self._nonce = nonce
        self._gs2 = b"y,," if supports else b"n,,"
        self._bound = b""
        if binding is not None:
            self._gs2, self._bound = _BINDING_HEADER, binding
        self.mechanism = PLAIN if binding is None else PLUS
        self._bare = b"n=" + user + b",r=" + nonce
        self._signature = b""

    def first(self) -> bytes:
        """client-first-message."""
        return self._gs2 + self._bare

    def final(self, challenge: bytes) -> bytes:
        """client-final-message for the server-first-message ``challenge``."""
        nonce, salt64, count = _values(challenge, "r", "s", "i")
        ours = len(self._nonce)
        if not nonce.startswith(self._nonce) or not _NONCE.fullmatch(nonce[ours:]):
            raise ScramError("a SCRAM nonce that does not extend ours")
        salt = _decoded(salt64)
        if not salt or not _COUNT.fullmatch(count):
            raise ScramError("a malformed SCRAM challenge")
        iterations = int(count)
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ScramError(
                f"a SCRAM iteration count outside {MIN_ITERATIONS} to {MAX_ITERATIONS}"
            )
        # Of the password only a hash is kept, to notice that it has changed.
        of = (salt, iterations, hashlib.sha256(self._password).digest())
        known = self._memory.get(MEMORY_KEY)
        if isinstance(known, tuple) and known[0] == of:
            salted: bytes = known[1]
        else:
            salted = _salted(self._password, salt, iterations)
        self._salted = (of, salted)
        self._password = b""
        bare = b"c=" + b64encode(self._gs2 + self._bound) + b",r=" + nonce
        text = b",".join((self._bare, challenge, bare))
        key = _hmac(salted, b"Client Key")
        proof = _xor(key, _hmac(hashlib.sha256(key).digest(), text))
        self._signature = _hmac(_hmac(salted, b"Server Key"), text)
        return bare + b",p=" + b64encode(proof)

    def verify(self, outcome: bytes) -> None:
        """Check the server-final-message: the server knows the verifier too."""
        if outcome[:2] == b"e=":
            raise ScramError("the server reports a failed SCRAM exchange")
        (signature,) = _values(outcome, "v")
        if not self._signature or not hmac.compare_digest(_decoded(signature), self._signature):
            raise WrongProofError("a SCRAM server signature that is wrong")
        self._memory[MEMORY_KEY] = self._salted


class ScramServer:
    """The side that keeps a verifier: ``challenge``, then ``check``.

    ``nonce`` is our part. ``binding`` is that of our own certificate on this
    leg, None where there is none; with it PLUS is offered beside the other.
    """

    __slots__ = ("_binding", "_expected", "_nonce", "_text", "_verifier", "mechanisms")

    def __init__(self, verifier: Verifier, nonce: bytes, binding: bytes | None = None) -> None:
        self._verifier = verifier
        self._nonce = nonce
        self._binding = binding
        self._expected = b""
        self._text = b""
        self.mechanisms = (PLAIN,) if binding is None else (PLUS, PLAIN)

    def challenge(self, mechanism: str, first: bytes) -> bytes:
        """server-first-message for a client that chose ``mechanism``."""
        if mechanism not in self.mechanisms:
            raise ScramError("a SASL mechanism that was not offered")
        flag, _, rest = first.partition(b",")
        authzid, _, bare = rest.partition(b",")
        if authzid:
            raise ScramError("a SCRAM authorization identity, which is not supported")
        bound = b""
        if mechanism == PLUS:
            if flag != b"p=tls-server-end-point":
                raise ScramError("a channel binding type that is not supported")
            bound = self._binding or b""
        elif flag == b"y":
            # It can bind and believes that we can't: somebody cut our offer.
            if self._binding is not None:
                raise ScramError("a client that was not shown the offer of channel binding")
        elif flag != b"n":
            raise ScramError("channel binding without the mechanism for it")
        _, theirs = _values(bare, "n", "r")
        if not _NONCE.fullmatch(theirs):
            raise ScramError("a malformed SCRAM nonce")
        nonce = theirs + self._nonce
        self._expected = b"c=" + b64encode(flag + b",," + bound) + b",r=" + nonce
        v = self._verifier
        challenge = b"r=%b,s=%b,i=%d" % (nonce, b64encode(v.salt), v.iterations)
        self._text = bare + b"," + challenge + b"," + self._expected
        return challenge

    def check(self, final: bytes) -> bytes:
        """server-final-message if ``final`` proves the password; WrongProofError if
        it doesn't, ScramError if it is malformed."""
        bare, mark, proof64 = final.rpartition(b",p=")
        if not mark or not self._expected or not hmac.compare_digest(bare, self._expected):
            raise ScramError("a SCRAM proof for another exchange")
        proof = _decoded(proof64)
        if len(proof) != 32:
            raise ScramError("a SCRAM proof of a wrong length")
        key = _xor(proof, _hmac(self._verifier.stored_key, self._text))
        if not hmac.compare_digest(hashlib.sha256(key).digest(), self._verifier.stored_key):
            raise WrongProofError("a wrong password")
        return b"v=" + b64encode(_hmac(self._verifier.server_key, self._text))
