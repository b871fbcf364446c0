"""Row 88 of THREATS.md: where a session must not be sent."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.addresses import Address, dialable, neighbourhood, parse_address, reaches, why_refused

OWN = (Address("127.0.0.1", 6432), Address("::1", 6433), Address("0.0.0.0", 7000))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5432", "127.0.0.1", 5432),
        ("[::1]:5432", "::1", 5432),
        ("[0:0:0:0:0:0:0:1]:1", "::1", 1),
        ("DB.Example.com.:65535", "db.example.com", 65535),
        ("db_1:1", "db_1", 1),
        ("1password.example:1", "1password.example", 1),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert parse_address(str(parse_address(text))) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "db",
        ":5432",
        "db:",
        "db:0",
        "db:65536",
        "db:99999",
        "db:5432 ",
        "db:5432\n",
        "db:+5",
        "db:٥",
        "::1:5432",
        "[::1]",
        "[db]:1",
        "[::g]:1",
        "a b:1",
        "user@db:1",
        "db/x:1",
        "-db:1",
        "d..b:1",
        "127.1:1",
        "0x7f000001:1",
        "0x7f.1:1",
        "2130706433:1",
        "0177.0.0.1:1",
        "127.0.0.256:1",
        "db.0x:1",
        "db.1:1",
    ],
)
def test_texts_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_port_zero_is_for_listeners() -> None:
    assert parse_address("127.0.0.1:0", zero_port=True).port == 0


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_row_88_refused_addresses(host: str) -> None:
    assert why_refused(host)
    assert dialable("db.example", host, 5432, OWN)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.5", "8.8.8.8", "db", "fd00::5"])
def test_ordinary_addresses(host: str) -> None:
    assert why_refused(host) == ""


def test_row_88_explicit_networks() -> None:
    allowed = (ipaddress.ip_network("169.254.10.0/24"),)
    assert why_refused("169.254.10.7", allowed) == ""
    assert why_refused("169.254.169.254", allowed)
    assert dialable("db", "169.254.10.7", 1, OWN, allowed) == ""


def test_row_88_a_name_that_turns_into_loopback() -> None:
    assert "loopback" in dialable("db.example", "127.0.0.1", 5432, OWN)
    assert "loopback" in dialable("db.example", "::ffff:127.0.0.1", 5432, OWN)
    assert "loopback" in dialable("db.example", "::1", 5432, OWN)
    assert dialable("localhost", "127.0.0.1", 5432, OWN) == ""
    assert dialable("127.0.0.1", "127.0.0.1", 5432, OWN) == ""
    assert dialable("db", "127.0.0.1", 5432, OWN, [ipaddress.ip_network("127.0.0.1/32")]) == ""


@pytest.mark.parametrize(
    ("host", "port", "same"),
    [
        ("127.0.0.1", 6432, True),
        ("::ffff:127.0.0.1", 6432, True),
        ("localhost", 6432, True),
        ("127.0.0.1", 6434, False),
        ("10.9.9.9", 6432, False),
        ("::1", 6433, True),
        ("127.0.0.1", 6433, False),
        ("127.0.0.1", 7000, True),
        ("127.5.5.5", 7000, True),
        ("10.9.9.9", 7000, False),
        ("db.example", 7000, False),
    ],
)
def test_row_88_proxy_to_self(host: str, port: int, same: bool) -> None:
    assert reaches(Address(host, port), OWN) is same
    if same:
        assert dialable("localhost", "127.0.0.1" if host == "localhost" else host, port, OWN)


def test_neighbourhoods() -> None:
    assert neighbourhood("192.0.2.1") == neighbourhood("::ffff:192.0.2.1") == "192.0.2.1"
    assert neighbourhood("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert neighbourhood("192.0.2.1:5555") == neighbourhood("192.0.2.1:6666") == "192.0.2.1"
    assert neighbourhood("[2001:db8:1:2::9]:1") == "2001:db8:1:2::/64"
    assert neighbourhood("unix") == "unix"
