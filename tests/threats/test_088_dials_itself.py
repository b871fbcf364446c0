"""Row 88: a target that is the gateway itself, a metadata service or a name that turns
out to be loopback is not dialled.

Clients can't name an address at all: they name a database of a configured target, so
what is left is the configuration and name resolution. Goes red without
``gateway.addresses.why_refused``.
"""

from __future__ import annotations

import pytest
from stack import Stack
from wire import Wire

from gateway.addresses import Address, dialable
from gateway.config import ConfigErrors, load_config

PLACES = [
    "127.0.0.1:{port}", "localhost:{port}", "[::ffff:127.0.0.1]:{port}", "0.0.0.0:{port}",
    "169.254.169.254:80", "[::ffff:169.254.169.254]:80", "metadata.google.internal:80",
    "METADATA.google.internal.:80", "[fd00:ec2::254]:80", "0.0.0.0:5432", "[::]:5432",
    "224.0.0.1:5432", "255.255.255.255:5432", "2130706433:{port}", "0x7f000001:{port}",
    "127.1:{port}", "0177.0.0.1:{port}", "[64:ff9b::7f00:1]:{port}", "[2002:7f00:1::]:{port}",
    "100.100.100.200:80", "127.0.0.1:0", "127.0.0.1:65536", "user@127.0.0.1:5432",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_the_configuration_is_refused(anything: Stack, place: str) -> None:
    text = anything.config_file.read_text()
    server = f'upstream = "127.0.0.1:{anything.server.port}"'
    assert server in text
    other = anything.folder / "other.toml"
    other.write_text(text.replace(server, f'upstream = "{place.format(port=anything.port)}"'))
    with pytest.raises(ConfigErrors):
        load_config(other)


@pytest.mark.parametrize(
    "database",
    ["127.0.0.1", "db/../x", "host=127.0.0.1", "postgres host=169.254.169.254", "other",
     "db:5433", "postgresql://127.0.0.1/x", "shop\\x00"],
)  # fmt: skip
def test_a_client_can_not_name_an_address(anything: Stack, database: str) -> None:
    with Wire(anything.port) as wire:
        answer = wire.login(anything.token(), {"user": "agent", "database": database})
        assert answer.status == ""
        assert answer.code in ("3D000", "08006"), "a database that is not there, nothing else"


@pytest.mark.parametrize(
    ("asked", "resolved", "refused"),
    [
        ("db.example", "127.0.0.1", True),
        ("db.example", "::1", True),
        ("db.example", "::ffff:127.0.0.1", True),
        ("db.example", "169.254.169.254", True),
        ("db.example", "0.0.0.0", True),
        ("db.example", "10.0.0.5", False),
        ("127.0.0.1", "127.0.0.1", False),
    ],
)
def test_after_the_name_was_resolved(asked: str, resolved: str, refused: bool) -> None:
    assert bool(dialable(asked, resolved, 5432, [Address("0.0.0.0", 6432)])) is refused
