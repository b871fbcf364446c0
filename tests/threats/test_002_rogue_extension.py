"""Row 2: what only encrypted peers may say, said in the clear."""

from __future__ import annotations

import pytest
from ssh_wire import (
    AUTH,
    AUTH_SUCCESS,
    EXT_INFO,
    SERVICE_ACCEPT,
    SERVICE_REQUEST,
    STRICT,
    Boolean,
    Door,
    String,
    UInt32,
    Wire,
    alive,
    kexinit,
)  # fmt: skip

SAID = {
    "ext-info": bytes([EXT_INFO]) + UInt32(1) + String("server-sig-algs") + String("ssh-rsa"),
    "success": bytes([AUTH_SUCCESS]),
    "accept": bytes([SERVICE_ACCEPT]) + String("ssh-userauth"),
    "request": bytes([SERVICE_REQUEST]) + String("ssh-userauth"),
    "login": bytes([AUTH])
    + b"".join(map(String, ["git", "ssh-connection", "password"]))
    + Boolean(False)
    + String("open sesame"),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("said", SAID)
def test_it_is_not_heard_in_the_clear(door: Door, said: str, strict: bool) -> None:
    kex = "curve25519-sha256" + (f",{STRICT}" if strict else "")
    with Wire(door) as wire:
        wire.say(kexinit(kex=kex), SAID[said])
        assert wire.ends()
    assert door.heard() == []


def test_the_door_still_opens(door: Door) -> None:
    assert alive(door)
