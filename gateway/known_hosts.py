"""Which host keys are an upstream's: written down, or taken from a known_hosts file.

A pin is ``type base64``, or ``@cert-authority type base64`` for an authority that
signs host certificates.  A known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) is
read once, at start, for the lines about one host; an upstream without any pin is
refused, never trusted on first use.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from gateway.addresses import Address
from gateway.identity.public_keys import HOST_RSA_BITS, KeyInvalid, public_key

AUTHORITY = "@cert-authority"
_REVOKED = "@revoked"
_SSH_PORT = 22


def read_pin(text: str) -> str:
    """The one spelling of a pin; KeyInvalid when it is none."""
    marker, blank, rest = text.strip().partition(" ")
    if marker == AUTHORITY and blank:
        return f"{AUTHORITY} {public_key(rest, HOST_RSA_BITS).line}"
    return public_key(text, HOST_RSA_BITS).line


def pins_for(address: Address, text: str) -> tuple[str, ...]:
    """The pins of ``address`` in a known_hosts file's ``text``, () for none. What is
    revoked there is left out; lines that can't be read pin nothing."""
    name = address.host if address.port == _SSH_PORT else f"[{address.host}]:{address.port}"
    pins: list[str] = []
    revoked: set[str] = set()
    for line in text.splitlines():
        marker, words = "", line.split(None, 2)
        if words and words[0].startswith("@"):
            marker, words = words[0], line.split(None, 3)[1:]
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", AUTHORITY, _REVOKED):
            continue
        if not _meant(name, words[0]):
            continue
        try:
            key = public_key(" ".join(words[1:]), HOST_RSA_BITS).line
        except KeyInvalid:
            continue
        if marker == _REVOKED:
            revoked.add(key)
        else:
            pins.append(f"{marker} {key}".strip())
    kept = [pin for pin in pins if pin.removeprefix(f"{AUTHORITY} ") not in revoked]
    return tuple(dict.fromkeys(kept))


def _meant(name: str, field: str) -> bool:
    """Does a line's first field speak of ``name``?"""
    if field.startswith("|"):
        return _hashed(name, field)
    hit = False
    for pattern in field.lower().split(","):
        if _matches(name, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            hit = True
    return hit


def _matches(name: str, pattern: str) -> bool:
    signs = {"*": ".*", "?": "."}
    return re.fullmatch("".join(signs.get(c) or re.escape(c) for c in pattern), name) is not None


def _hashed(name: str, field: str) -> bool:
    """``|1|salt|hash``: HMAC-SHA1 of the name, keyed by the salt."""
    parts = field.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
