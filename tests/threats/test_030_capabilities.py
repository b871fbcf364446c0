"""Row 30: a client gets only capabilities that the gateway understands, and may only name
those. Goes red when the upstream's advertisement is passed on as it is.
"""

from __future__ import annotations

import re

import pytest
from git_kit import FLUSH, ZERO, Attack, history, pkt, request

PUSH_KNOWN = {
    "report-status", "report-status-v2", "delete-refs", "side-band-64k", "quiet", "atomic",
    "ofs-delta", "object-format", "agent", "push-options", "no-thin", "session-id",
}  # fmt: skip
BAD = [
    b"report-status push-cert=abcdef", b"report-status side-band-64k frobnicate",
    b"report-status agent=a\nb", b"report-status object-format=sha256",
    b"report-status object-format=md5", b"report-status object-format=sha1 object-format=sha256",
    b"report-status\0push-cert", b"report-status agent=" + b"x" * 70_000,
]  # fmt: skip


def advertised_by(attack: Attack, service: str, name: str) -> list[str]:
    said = attack.execute(f"git-{service}-pack '{name}'", FLUSH, polite=True)
    line = said.out[4 : int(said.out[:4], 16)]
    return line.partition(b"\0")[2].decode().split()


def test_what_is_offered_for_a_push(attack: Attack) -> None:
    name, _ = attack.seeded(1)
    offered = advertised_by(attack, "receive", name)
    names = {word.partition("=")[0] for word in offered}
    assert names <= PUSH_KNOWN, names - PUSH_KNOWN
    assert {"report-status", "delete-refs", "side-band-64k", "no-thin"} <= names
    assert "push-cert" not in names


def test_what_is_offered_for_a_fetch(attack: Attack) -> None:
    """Version 2: each command and feature on a line of its own."""
    name, _ = attack.seeded(1)
    said = attack.execute(f"git-upload-pack '{name}'", FLUSH, protocol="version=2")
    words = set(re.findall(rb"\n?[0-9a-f]{4}([a-z-]+)[=\n ]", said.out))
    assert {b"ls-refs", b"fetch"} <= words
    assert words <= {b"version", b"agent", b"ls-refs", b"fetch", b"object-format", b"server-option",
                     b"object-info", b"bundle-uri", b"session-id"}  # fmt: skip
    assert b"packfile-uris" not in said.out


@pytest.mark.parametrize("caps", BAD, ids=lambda caps: repr(caps[:40]))
def test_what_was_not_offered(attack: Attack, caps: bytes) -> None:
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    made = history()
    if len(caps) > 60_000:
        raw = b"fff0" + b"x" * 70_000
    else:
        raw = request((ZERO, made.tip, "refs/heads/new"), caps=caps, pack=made.pack())
    said = attack.push(name, raw)
    assert said.code or b"ng " in said.out, said
    unharmed()


def test_a_signed_push(attack: Attack) -> None:
    """A push certificate instead of commands."""
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    made = history()
    lines = [
        b"push-cert\0report-status\n", b"certificate version 0.1\n", b"pusher x 1 +0000\n", b"\n",
        f"{ZERO} {made.tip} refs/heads/new\n".encode(), b"push-cert-end\n",
    ]  # fmt: skip
    said = attack.push(name, b"".join(map(pkt, lines)) + FLUSH + made.pack())
    assert said.code or b"ng " in said.out, said
    unharmed()
