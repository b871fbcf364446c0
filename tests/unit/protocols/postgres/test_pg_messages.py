"""Builders and parsers of the startup phase."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.contract import Refuse
from protocols.errors import LimitError, WireError
from protocols.postgres import messages
from protocols.postgres.intake import Intake
from protocols.postgres.parameters import RefusedError, wishes
from protocols.wire import Side


def test_fixed_messages() -> None:
    # Bytes as the manual gives them.
    assert bytes.fromhex("0000000804d2162f") == messages.SSL_REQUEST
    assert messages.cancel_request(b"\0\0\0\1abcd") == bytes.fromhex("0000001004d2162e") + (
        b"\0\0\0\1abcd"
    )
    assert messages.authentication(0) == b"R\0\0\0\x08\0\0\0\0"
    assert messages.startup({"user": "a"}) == b"\0\0\0\x10\0\3\0\0user\0a\0\0"
    assert messages.sasl_offer(["X", "Y"]) == b"R\0\0\0\x0d\0\0\0\x0aX\0Y\0\0"
    assert messages.negotiate(2, ["_pq_.a"]) == b"v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.a\0"


def test_startup_refuses_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        messages.startup({"user": "a\0database\0b"})


def test_error_round_trip() -> None:
    raw = messages.fatal("28P01", "no \0way", "why", "try")
    assert messages.parse_fields(raw[5:], Side.UPSTREAM) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "28P01",
        "M": "no way",
        "D": "why",
        "H": "try",
    }


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("policy", "42501"),
        ("identity", "28P01"),
        ("target", "3D000"),
        ("busy", "53300"),
        ("recorder", "53100"),
        ("shutdown", "57P01"),
        ("upstream", "08006"),
    ],
)
def test_refusal_codes(kind: str, code: str) -> None:
    raw = messages.refusal(Refuse("because", "r1", kind), "s-9")
    fields = messages.parse_fields(raw[5:], Side.CLIENT)
    assert (fields["C"], fields["M"]) == (code, "because")
    assert "r1" in fields["D"]
    assert "s-9" in fields["H"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"SFATAL\0\0",
        b"SFATAL\0C28P0\0Mx\0\0",
        b"C28P01\0\0",
        b"C28P01\0Mx\0",
        b"\0\0\0",
    ],
)
def test_error_without_code(payload: bytes) -> None:
    with pytest.raises(WireError):
        messages.parse_fields(payload, Side.UPSTREAM)


@pytest.mark.parametrize(
    "body",
    [b"", b"user", b"user\0", b"user\0a", b"user\0a\0", b"user\0\0", b"user\0a\0\0x\0\0", b"\0\0",
     b"\xff\0a\0\0", b"user\0a\0\0\0\0"],
)  # fmt: skip
def test_bad_startups(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        messages.parse_startup(body)
    assert caught.value.side is Side.CLIENT


def test_good_startups() -> None:
    assert messages.parse_startup(b"\0") == []
    assert messages.parse_startup(b"user\0a\0options\0\0\0") == [("user", "a"), ("options", "")]


@pytest.mark.parametrize("payload", [b"", b"a", b"a\0b\0", b"\0\0"])
def test_bad_passwords(payload: bytes) -> None:
    with pytest.raises(WireError):
        messages.parse_password(payload)


def test_sasl_lengths() -> None:
    assert messages.parse_sasl_initial(b"M\0\0\0\0\2hi") == ("M", b"hi")
    for bad in (
        b"",
        b"M",
        b"M\0\0\0\0",
        b"M\0\0\0\0\3hi",
        b"M\0\0\0\0\1hi",
        b"M\0\xff\xff\xff\xff",
    ):
        with pytest.raises(WireError):
            messages.parse_sasl_initial(bad)


PARSERS: list[Callable[[bytes], object]] = [
    lambda b: messages.parse_fields(b, Side.UPSTREAM),
    messages.parse_authentication,
    messages.parse_mechanisms,
    messages.parse_sasl_initial,
    messages.parse_password,
    messages.parse_status,
    messages.parse_startup,
]


@given(st.binary(max_size=60), st.sampled_from(PARSERS))
def test_only_wire_errors(data: bytes, parse: Callable[[bytes], object]) -> None:
    try:
        parse(data)
    except WireError:
        pass


@pytest.mark.parametrize("length", [0, 3, 1 << 31, (1 << 32) - 1])
def test_intake_lengths(length: int) -> None:
    intake = Intake(Side.UPSTREAM)
    intake.push(b"R" + length.to_bytes(4, "big"))
    with pytest.raises(WireError):
        intake.message(1000)


def test_intake_limit_is_exact() -> None:
    intake = Intake(Side.CLIENT)
    intake.push(messages.frame(b"p", bytes(6)) * 2)
    assert intake.message(10) == messages.frame(b"p", bytes(6))
    with pytest.raises(LimitError):
        intake.message(9)


# Startup parameters


def test_wishes() -> None:
    w = wishes(
        [
            ("user", "mia"),
            ("application_name", "psql"),
            ("client_encoding", "'utf-8'"),
            ("DateStyle", "ISO"),
            ("replication", "off"),
            ("options", r"-c statement_timeout=5s  --lock-timeout=1\ s -cgeqo=off"),
            ("_pq_.x", "1"),
        ]
    )
    assert (w.user, w.database, w.extensions) == ("mia", "mia", ("_pq_.x",))
    assert w.parameters == {
        "application_name": "psql",
        "client_encoding": "UTF8",
        "datestyle": "ISO",
        "statement_timeout": "5s",
        "lock_timeout": "1 s",
        "geqo": "off",
    }


@pytest.mark.parametrize(
    ("name", "value", "code", "word"),
    [
        ("replication", "database", "42501", "replication"),
        ("replication", "true", "42501", "replication"),
        ("replication", "", "42501", "replication"),
        ("search_path", "evil", "42501", "search_path"),
        ("role", "root", "42501", "role"),
        ("session_authorization", "root", "42501", "session_authorization"),
        ("Search_Path", "evil", "42501", "Search_Path"),
        ("options", "-c search_path=evil", "42501", "search_path"),
        ("options", "-csearch_path=evil", "42501", "search_path"),
        ("options", "--search-path=evil", "42501", "search_path"),
        ("options", r"-c\ search_path=evil", "42501", "search_path"),
        ("options", "-d 5", "42501", "-d"),
        ("options", "-c", "42601", "options"),
        ("options", "-c geqo", "42601", "geqo"),
        ("options", "-c standard_conforming_strings=off", "22023", "standard_conforming_strings"),
        ("options", "-c geqo=on -c GEQO=off", "42601", "GEQO"),
        ("options", "--", "42501", "--"),
        ("client_encoding", "SJIS", "22023", "SJIS"),
        ("standard_conforming_strings", "off", "22023", "standard_conforming_strings"),
        ("USER", "root", "42601", "USER"),
        ("user", "again", "42601", "user"),
    ],
)
def test_refused_wishes(name: str, value: str, code: str, word: str) -> None:
    with pytest.raises(RefusedError) as caught:
        wishes([("user", "mia"), (name, value)])
    assert caught.value.code == code
    assert word in caught.value.message


def test_nobody() -> None:
    with pytest.raises(RefusedError) as caught:
        wishes([("database", "shop")])
    assert caught.value.code == "28000"
