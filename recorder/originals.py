"""Originals behind masks: withheld behind a commitment, or sealed to auditors.

Each session has a random 32-byte key. ``withhold`` keeps of an original its
length and HMAC-SHA-256 under that key; ``seal`` keeps it under AES-256-GCM.
The key itself is kept only wrapped to the auditors' public keys (HPKE, RFC
9180, base mode: DHKEM(X25519), HKDF-SHA256, AES-256-GCM), in the session's
header. Without auditors nothing can open the commitments, which then only
take the place of the bytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocols.wire import Move, Side
from recorder.errors import MissingKeyError
from recorder.keys import key_id
from recorder.records import SEALED, SPAN_MAX, WITHHELD, StoredSpan

Originals = Literal["withhold", "seal"]

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _info(session: str) -> bytes:
    return b"wirewarden originals v1\0" + session.encode()


def _about(session: str, side: int, arrival: int, length: int) -> bytes:
    """What binds an original to its place."""
    return b"".join(
        (
            session.encode(),
            bytes((0, side)),
            arrival.to_bytes(8, "little"),
            length.to_bytes(8, "little"),
        )
    )


def _place(move: Move, side: Side) -> int:
    """The side of a place: of an arrival as it is, of a departure two more."""
    return side + 2 if move is Move.SEND else side


class Keeper:
    """Keeps the originals of one session while it is written."""

    __slots__ = ("_credentials", "_key", "_nonce", "_seal", "_session", "how", "wrapped")

    def __init__(
        self,
        session: str,
        how: Originals,
        auditors: Sequence[X25519PublicKey],
        chance: Callable[[int], bytes],
        credentials: Originals = "withhold",
    ) -> None:
        if "seal" in (how, credentials) and not auditors:
            raise ValueError("originals can be sealed only to an auditor's key")
        self.how = how
        self._session = session
        self._key = chance(32)
        self._seal = AESGCM(self._key) if how == "seal" else None
        self._credentials = AESGCM(self._key) if credentials == "seal" else None
        self._nonce = 0
        self.wrapped: list[dict[str, Any]] = [
            {"auditor": key_id(key), "key": _SUITE.encrypt(self._key, key, _info(session))}
            for key in auditors
        ]

    def keep(self, side: int, arrival: int, raw: bytes) -> tuple[int, int, bytes]:
        """``kept, nonce, blob`` of a span entry for ``raw``."""
        about = _about(self._session, side, arrival, len(raw))
        if self._seal is None:
            return WITHHELD, 0, hmac.digest(self._key, about + raw, "sha256")
        self._nonce = nonce = self._nonce + 1
        return SEALED, nonce, self._seal.encrypt(nonce.to_bytes(12, "big"), raw, about)

    def keep_credential(
        self, move: Move, side: Side, offset: int, raw: bytes
    ) -> tuple[()] | tuple[int, int, bytes]:
        """What a span entry of a credential has after its length: nothing, unless it is
        one of those that the gateway shows to an upstream (or gets from it), and they are
        to be sealed. What a client proves itself with is never kept."""
        client = side is Side.CLIENT and move is not Move.SEND
        if self._credentials is None or client or len(raw) > SPAN_MAX:
            return ()
        about = _about(self._session, _place(move, side), offset, len(raw))
        self._nonce = nonce = self._nonce + 1
        return SEALED, nonce, self._credentials.encrypt(nonce.to_bytes(12, "big"), raw, about)


class Opener:
    """Opens the originals of one session with an auditor's private key."""

    def __init__(
        self, session: str, wrapped: Sequence[dict[str, Any]], keys: Sequence[X25519PrivateKey]
    ) -> None:
        self._session = session
        self._key: bytes | None = None
        mine = {key_id(key.public_key()): key for key in keys}
        for item in wrapped:
            key = mine.get(str(item.get("auditor")))
            sealed = item.get("key")
            if key is not None and isinstance(sealed, bytes):
                try:
                    self._key = _SUITE.decrypt(sealed, key, _info(session))
                except InvalidTag:
                    raise MissingKeyError("the wrapped key does not open: altered") from None
                return

    @property
    def opens(self) -> bool:
        """Whether a key that was given is one of the session's auditors."""
        return self._key is not None

    def open(self, span: StoredSpan) -> bytes:
        """The original bytes of ``span``; ``MissingKeyError`` where there is
        no key for them, or they are withheld for good."""
        if span.kept != SEALED:
            raise MissingKeyError("the original is withheld: only a commitment to it is kept")
        if self._key is None:
            raise MissingKeyError("the original is sealed, and no key that was given opens it")
        sent = span.move is Move.SEND
        offset = span.departure if sent else span.arrival
        about = _about(self._session, _place(span.move, span.side), offset, span.length)
        try:
            raw = AESGCM(self._key).decrypt(span.nonce.to_bytes(12, "big"), span.blob, about)
        except InvalidTag:
            raise MissingKeyError("the sealed original does not open: altered") from None
        return raw

    def matches(self, span: StoredSpan, raw: bytes) -> bool:
        """True if ``raw`` is what a withheld original was."""
        if self._key is None or span.kept != WITHHELD:
            return False
        about = _about(self._session, span.side, span.arrival, span.length)
        return hmac.compare_digest(hmac.digest(self._key, about + raw, "sha256"), span.blob)
