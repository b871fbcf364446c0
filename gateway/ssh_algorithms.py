"""What the gateway speaks as SSH: names of algorithms, limits, fingerprints.

Only authenticated ciphers are offered: an old CBC or CTR cipher with a MAC beside it
buys nothing that a client of the last ten years needs.  chacha20-poly1305 is safe
against prefix truncation (CVE-2023-48795) only under strict key exchange, so it is
last, and refused when the peer has no strict key exchange.
"""

from __future__ import annotations

from typing import Final

KEX: Final = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")
"""Without finite-field groups (slow, and their sizes a denial of service) and NIST curves."""
CHACHA: Final = "chacha20-poly1305@openssh.com"
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", CHACHA)
MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
"""Never used: each cipher authenticates. Some clients refuse an empty list."""
SIGNATURES: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Of clients' keys, and of host keys. SHA-1 (``ssh-rsa``) and DSA are not among them."""
HOST_KEYS: Final = frozenset(
    name.encode()
    for plain in SIGNATURES
    if not plain.startswith("sk-")
    for name in (plain, plain + "-cert-v01@openssh.com")
)
LEAST_RSA: Final = 2048
"""Bits of a client's RSA key."""

EARLY_PACKET: Final = 35000
"""Bytes of one packet before the login is over: what RFC 4253 section 6.1 asks for."""
EARLY_BYTES: Final = 1 << 20
"""Bytes that a peer may send before the login is over."""
LONGEST_KEY: Final = 1 << 14
"""Bytes of a public key or certificate."""
ATTEMPTS: Final = 32
"""Requests of one login. OpenSSH sends one for each key that its agent holds."""
SECRETS: Final = 8
"""Passwords and answers of one login. The conversation counts too, and lower."""
REFUSALS: Final = 100
"""Things that one connection may ask for in vain before it is ended."""
WAITING: Final = 16
"""Requests on a channel that may wait for one that is being decided."""
BACKLOG: Final = 2 << 20
"""Bytes owed to a peer that asks for more and reads nothing. Then it is ended."""


def signed_with(signature: bytes) -> str:
    """The algorithm that a signature (RFC 4253 section 6.6) says of itself; "" for
    none that is known."""
    length = int.from_bytes(signature[:4], "big")
    name = signature[4 : 4 + length].decode("latin-1") if length <= 64 else ""
    return name if name in SIGNATURES else ""


def shown(text: str, most: int = 200) -> str:
    """A peer's words for an operator: one line of printable ASCII."""
    line = "".join(c if " " <= c <= "~" else "?" for c in text[: most + 1])
    return line if len(line) <= most else line[:most] + "..."
