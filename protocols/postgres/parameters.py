"""Which startup parameters a client may bring (THREATS row 56).

A list of what is let through, not of what is dangerous: a server accepts any
of its settings here, and a name that we don't know could change what a
statement means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

ALLOWED = frozenset(
    {
        "application_name",
        "client_encoding",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "standard_conforming_strings",
        "statement_timeout",
        "timezone",
        "transaction_timeout",
    }
)
"""Settings, in lower case as the server compares them. None of them changes
how a text is read or which objects its names mean."""

# A client in the C locale asks for SQL_ASCII ("convert nothing"). It gets UTF8,
# and ParameterStatus says so; what it sends must be UTF-8 like everyone's.
_UTF8 = frozenset({"utf8", "unicode", "sqlascii"})
_YES = frozenset({"on", "true", "yes", "1"})
_NO = frozenset({"off", "false", "no", "0"})


class RefusedError(Exception):
    """The startup packet is well-formed and not acceptable."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Wishes(NamedTuple):
    """What a startup packet asks for, checked."""

    user: str
    database: str
    parameters: dict[str, str]
    extensions: tuple[str, ...]
    """Names of protocol options (``_pq_.``) that we don't know: none is known."""


def wishes(pairs: Iterable[tuple[str, str]]) -> Wishes:
    """Check the parameters of a startup packet; RefusedError names what is
    wrong. The two settings that are forced anyway come out in their one form."""
    user = database = ""
    settings: dict[str, str] = {}
    extensions: list[str] = []
    seen: set[str] = set()
    for name, value in pairs:
        if name.lower() in seen:
            raise RefusedError("42601", f"startup parameter {shown(name)} is there twice")
        seen.add(name.lower())
        if name == "user":
            user = value
        elif name == "database":
            database = value
        elif name == "replication":
            _no_replication(value)
        elif name == "options":
            for option, text in _options(value):
                _setting(settings, option, text)
        elif name.startswith("_pq_."):
            extensions.append(name)
        else:
            _setting(settings, name, value)
    if not user:
        raise RefusedError("28000", "no PostgreSQL user name specified in startup packet")
    return Wishes(user, database or user, settings, tuple(extensions))


def shown(word: str) -> str:
    """A client's own word, quoted and short, for a message back to it."""
    return f'"{word[:63]}"'


def _no_replication(value: str) -> None:
    if value.lower() not in _NO:
        raise RefusedError("42501", "replication is not allowed through the gateway")


def _setting(settings: dict[str, str], name: str, value: str) -> None:
    key = name.lower()
    if key not in ALLOWED:
        raise RefusedError(
            "42501",
            f"startup parameter {shown(name)} is not allowed through the gateway",
            "Allowed are: " + ", ".join(sorted(ALLOWED)) + ".",
        )
    if key in settings:
        raise RefusedError("42601", f"startup parameter {shown(name)} is there twice")
    if key == "client_encoding":
        plain = value.strip("'\"").lower().replace("-", "").replace("_", "")
        if plain not in _UTF8:
            raise RefusedError(
                "22023",
                f"client_encoding {shown(value)} is not allowed through the gateway",
                "Use UTF8 (with psql: PGCLIENTENCODING=UTF8).",
            )
        value = "UTF8"
    elif key == "standard_conforming_strings":
        if value.lower() not in _YES:
            raise RefusedError("22023", "standard_conforming_strings must be on")
        value = "on"
    settings[key] = value


def _options(text: str) -> list[tuple[str, str]]:
    """The settings in an ``options`` value: ``-c name=value`` and
    ``--name=value``, split as the server does (white space, backslash)."""
    words = _split(text)
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "-c" and at < len(words):
            word = words[at]
            at += 1
        elif word.startswith("-c") or (word.startswith("--") and len(word) > 2):
            word = word[2:]
        else:
            raise RefusedError(
                "42501", f'startup parameter "options": only -c name=value, not {shown(word)}'
            )
        name, equals, value = word.partition("=")
        if not equals:
            raise RefusedError("42601", f'startup parameter "options": {shown(name)} has no value')
        found.append((name.replace("-", "_"), value))
    return found


def _split(text: str) -> list[str]:
    words: list[str] = []
    word: list[str] = []
    inside = escaped = False
    for c in text:
        if not escaped and c in " \t\n\r\v\f":
            if inside:
                words.append("".join(word))
            word = []
            inside = False
            continue
        inside = True
        if escaped or c != "\\":
            word.append(c)
            escaped = False
        else:
            escaped = True
    if inside:
        words.append("".join(word))
    return words
