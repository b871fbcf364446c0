"""Row 56: a startup packet carries settings; only those that change neither how a
text is read nor whom it runs as get through.

Goes red without the ``ALLOWED`` check of ``parameters._setting``.
"""

from __future__ import annotations

import struct

import pytest
from stack import Stack
from wire import Wire, enter, startup

REFUSED = {
    "options scs": {"options": "-c standard_conforming_strings=off"},
    "options scs glued": {"options": "-cstandard_conforming_strings=off"},
    "options scs long": {"options": "--standard-conforming-strings=off"},
    "options escaped": {"options": "-c\\ search_path=evil"},
    "options second": {"options": "-c application_name=x -c search_path=evil"},
    "options tab": {"options": "-c\tsession_authorization=postgres"},
    "options flag": {"options": "-O"},
    "options dash": {"options": "--"},
    "options many": {"options": "-c geqo=off -N 1"},
    "options bare": {"options": "search_path=evil"},
    "replication": {"replication": "database"},
    "replication on": {"replication": "true"},
    "replication odd": {"replication": "yES "},
    "search_path": {"search_path": "evil, pg_catalog"},
    "Search_Path": {"Search_Path": "evil"},
    "role": {"role": "postgres"},
    "session_authorization": {"session_authorization": "postgres"},
    "scs": {"standard_conforming_strings": "off"},
    "scs short": {"standard_conforming_strings": "of"},
    "backslash_quote": {"backslash_quote": "on"},
    "encoding": {"client_encoding": "SJIS"},
    "Encoding": {"Client_Encoding": "sjis"},
    "latin1": {"client_encoding": "latin1"},
    "row_security": {"row_security": "off"},
    "local_preload_libraries": {"local_preload_libraries": "x"},
    "session_preload_libraries": {"session_preload_libraries": "x"},
    "custom": {"a.b": "c"},
    "unknown": {"zzz": "1"},
    "empty": {"geqo ": "1"},
    "utf-8 look-alike": {"ſearch_path": "evil"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(anything: Stack, name: str) -> None:
    with Wire(anything.port) as wire:
        answer = wire.login(
            anything.token(), {"user": "agent", "database": "shop", **REFUSED[name]}
        )
        assert answer.kinds == "E", "refused before a password is asked for"
        assert answer.code in ("42501", "22023", "42601"), answer
        assert wire.rest() == []


@pytest.mark.parametrize(
    "raw",
    [
        b"user\0agent\0user\0postgres\0\0",
        b"user\0agent\0geqo\0on\0GEQO\0off\0\0",
        b"user\0agent\0options\0-c geqo=on\0geqo\0off\0\0",
        b"user\0agent\0database\0shop\0database\0postgres\0\0",
        b"user\0agent\0client_encoding\0UTF8\0Client_encoding\0SJIS\0\0",
        b"database\0shop\0\0",
        b"user\0\0\0",
        b"user\0agent\0odd\0",
        b"user\0agent",
        b"user\0agent\0\0trailing\0",
        b"\0",
        b"",
        b"user\0\xff\xfe\0\0",
    ],
)
def test_packets_that_say_two_things(anything: Stack, raw: bytes) -> None:
    with Wire(anything.port) as wire:
        wire.send(struct.pack(">II", len(raw) + 8, 196608) + raw)
        answer = wire.until("ER")
        assert answer.kinds == "E", answer


@pytest.mark.parametrize("code", [0, 0x20000, 0x40000, 0xFFFFFFFF, 80877105])
def test_other_protocols(anything: Stack, code: int) -> None:
    with Wire(anything.port) as wire:
        wire.send(startup(code=code))
        answer = wire.rest()
        assert answer.kinds == "E", answer


def test_protocol_options_are_declined(anything: Stack) -> None:
    with Wire(anything.port) as wire:
        answer = wire.send(
            startup({"user": "agent", "database": "shop", "_pq_.column_encryption": "1"})
        ).until("RE")
        assert answer.kinds == "vR"
        assert b"_pq_.column_encryption" in answer[0][1]


def test_who_connects_upstream_is_not_the_clients_choice(anything: Stack) -> None:
    with enter(anything, user="somebody", application_name="x") as wire:
        assert wire.ask("SELECT current_user, current_setting('application_name')").rows == [
            [b"postgres", b"x"]
        ]
        assert wire.ask(
            "SELECT current_setting('search_path'), current_setting('client_encoding'),"
            " current_setting('standard_conforming_strings')"
        ).rows == [[b"public", b"UTF8", b"on"]]
