"""Credentials typed in statements are found; nothing else can be hidden."""

from __future__ import annotations

import time

import pytest

from protocols.sql.credentials import in_bytes, typed, without

FOUND = {
    "ALTER ROLE é PASSWORD 'k'\n'k' VALID UNTIL 'x'": "ALTER ROLE é PASSWORD '***' VALID UNTIL 'x'",
    "alter user x password /* c */ 'k' -- 'z'": "alter user x password /* c */ '***' -- 'z'",
    "create user u encrypted password U&'k' uescape '!'":
        "create user u encrypted password U&'***' uescape '!'",
    "CREATE USER u PASSWORD $p$k$b$p$": "CREATE USER u PASSWORD $p$***$p$",
    "create role x password E'k\\'k' superuser": "create role x password E'***' superuser",
    "alter user mapping for x server s options (set password 'k', \"password\" 'k')":
        "alter user mapping for x server s options (set password '***', \"password\" '***')",
    "create subscription s connection 'host=x password=k' publication p":
        "create subscription s connection '***' publication p",
    "select 1; alter role x password 'k'; select 2":
        "select 1; alter role x password '***'; select 2",
    "do $x$ begin alter role u password $$k$$; end $x$":
        "do $x$ begin alter role u password $$***$$; end $x$",
    "do $$ begin execute 'alter role x password ''k'' '; end $$":
        "do $$ begin execute 'alter role x password ''***'' '; end $$",
    # With a slip: it can't run.
    "alter role x password 'k": "alter role x password '***",
    "alter role x password 'k'; '": "alter role x password '***'; '",
}  # fmt: skip
SHOWN = [
    "select 'password ' || f() || ' x'",
    "select password 'drop table x'",
    "select query_to_xml(password 'delete from t', true, true, '')",
    "alter role x password null; select password 'drop'",
    "alter role x password ''; drop table y; select ''",
    "insert into t values ('create user password ''x''')",
    "create table t (a text default 'password')",
    "do $$ begin execute '-- alter role password ''\n drop table x; --'' '; end $$",
    "do language plpython3u $$# alter role x password '\ncode()'$$",
    "create subscription s connection 'host=x' publication p",
    "select 1 -- alter role x password 'k'",
    "explain analyze select password 'k'",
]


@pytest.mark.parametrize("text", FOUND)
def test_found(text: str) -> None:
    places = typed(text)
    assert without(text, places) == FOUND[text]
    raw = text.encode()
    for (start, end), (a, b) in zip(places, in_bytes(text, places), strict=True):
        assert raw[a:b] == text[start:end].encode()
        assert b"k" in raw[a:b]


@pytest.mark.parametrize("text", SHOWN)
def test_nothing_else_is_hidden(text: str) -> None:
    assert typed(text) == ()


def test_bytes_that_are_no_text_hide_nothing_else() -> None:
    text = b"alter role x password 'k\xff'; drop table y".decode("utf-8", "surrogateescape")
    places = typed(text)
    assert without(text, places) == "alter role x password '***'; drop table y"
    assert in_bytes(text, places) == ((23, 25),)


def test_broken_texts_cost_no_more_than_their_length() -> None:
    began = time.process_time()
    for text in ("create " * 60_000 + "'passw", "alter " + "password " * 50_000 + "'"):
        assert typed(text)[1:] == ()
    assert time.process_time() - began < 3
