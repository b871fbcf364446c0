"""Row 8: there is no compression, so nothing grows by it."""

from __future__ import annotations

import pytest
from ssh_wire import Door, Wire, kexinit


def test_compression_is_not_offered(door: Door) -> None:
    with Wire(door) as wire:
        wire.banner()
        assert b"zlib" not in (wire.hear() or b"zlib")


@pytest.mark.parametrize("name", ["zlib", "zlib@openssh.com", "zlib,zlib@openssh.com"])
def test_forced_compression_is_refused(door: Door, name: str) -> None:
    with Wire(door) as wire:
        wire.say(kexinit(compression=name))
        assert wire.ends()
