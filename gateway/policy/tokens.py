"""Triggers and confirmations for credentials: vendors' tokens and JWTs.

The shapes are the vendors' documented prefixes and lengths.  A token that is
still open where the data ends is masked to the end.  Every confirmation here
is linear over a whole scan: all triggers within one run of a token's
characters share one end, which is looked for once.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.policy.kinds import Confirm, Memo, Place, Trigger

LONG_REACH: Final = 16384
"""Bytes that a JWT or a key block may have and still be found in a stream
that is scanned in windows. (An RSA-8192 key is 6.4 KB, a JWT in practice at
most 9 KB.) Within one buffer there is no such limit."""

_SHORT: Final = 320
_TAIL: Final = 8
"""Characters behind a prefix that a trigger needs, so that it is rare."""


def _token(name: str, prefix: int, body: bytes, least: int, shape: bytes) -> Confirm:
    run = re.compile(b"[" + body + b"]*")
    whole = re.compile(shape) if shape else None

    def place(data: bytes, start: int, end: int, memo: Memo) -> Place:
        if start < memo.get(name, 0):
            return None
        found = run.match(data, start + prefix)
        assert found is not None
        stop = found.end()
        if whole is None:
            good = stop - start - prefix >= least
        else:
            match = whole.match(data, start)
            good = match is not None
        if not good and stop < len(data):
            return None
        memo[name] = stop
        return start, stop

    return place


_WORD: Final = rb"A-Za-z0-9"
_URL: Final = rb"A-Za-z0-9_\-"
_B64: Final = rb"A-Za-z0-9+/"

_GITLAB: Final = (
    *(b"glpat-", b"gloas-", b"gldt-", b"glrt-", b"glrtr-", b"glcbt-", b"glptt-", b"glft-"),
    *(b"glimt-", b"glagent-", b"glwt-", b"glsoat-", b"glffct-", b"GR1348941"),
)

# kind, prefixes, the class of the characters that follow, and how many at least
_TABLE: Final[tuple[tuple[str, tuple[bytes, ...], bytes, int], ...]] = (
    ("aws-key", (b"AKIA", b"ASIA", b"ABIA", b"ACCA"), rb"A-Z2-7", 16),
    ("gcp-key", (b"AIza",), _URL, 35),
    ("gcp-key", (b"GOCSPX-",), _URL, 24),
    ("gcp-key", (b"ya29.",), _URL + rb".", 20),
    ("github-token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), _WORD, 36),
    ("github-token", (b"github_pat_",), _WORD + b"_", 40),
    (
        "gitlab-token",
        _GITLAB,
        _URL + rb".",
        20,
    ),
    ("slack-token", (b"xoxa-", b"xoxb-", b"xoxc-", b"xoxd-", b"xoxe-", b"xoxo-"), _URL + b"%", 10),
    ("slack-token", (b"xoxp-", b"xoxr-", b"xoxs-", b"xoxe.xox", b"xapp-"), _URL, 10),
    (
        "slack-token",
        tuple(b"hooks.slack.com/" + use for use in (b"services/", b"workflows/", b"triggers/")),
        _URL + b"/",
        20,
    ),
    (
        "stripe-key",
        (b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_", b"whsec_"),
        _B64,
        16,
    ),
    ("npm-token", (b"npm_",), _WORD, 36),
    ("pypi-token", (b"pypi-AgE",), _URL, 50),
    ("llm-key", (b"sk-ant-", b"sk-proj-", b"sk-svcacct-", b"sk-admin-"), _URL, 20),
    ("llm-key", (b"sk-",), _WORD, 40),
    ("llm-key", (b"hf_",), rb"A-Za-z", 34),
    ("vault-token", (b"hvs.", b"hvb.", b"hvr."), _URL, 24),
    ("docker-token", (b"dckr_pat_", b"dckr_oat_"), _URL, 20),
    ("azure-key", (b"AccountKey=",), _B64 + b"=", 80),
    ("age-key", (b"AGE-SECRET-KEY-1",), rb"A-Z0-9", 58),
    ("sendgrid-key", (b"SG.",), _URL + b".", 66),
)
_SHAPES: Final = {b"SG.": rb"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40}"}


def _from_table() -> dict[str, tuple[Trigger, ...]]:
    kinds: dict[str, tuple[Trigger, ...]] = {}
    for kind, prefixes, body, least in _TABLE:
        for prefix in prefixes:
            confirm = _token(prefix.decode(), len(prefix), body, least, _SHAPES.get(prefix, b""))
            pattern = re.escape(prefix) + b"[" + body + b"]{%d}" % _TAIL
            reach = LONG_REACH if prefix == b"ya29." else _SHORT
            trigger = Trigger(pattern, len(prefix) + _TAIL, confirm, reach, always=True)
            kinds[kind] = (*kinds.get(kind, ()), trigger)
    return kinds


# -- AWS' secret access keys have no prefix: their name must stand before them

_AWS_SECRET: Final = re.compile(
    rb"[\\\"']{0,3}[ \t]{0,3}[=:,][ \t]{0,3}[\\\"']{0,3}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"
)


def _aws_secret(data: bytes, start: int, end: int, memo: Memo) -> Place:
    found = _AWS_SECRET.match(data, end)
    return found.span(1) if found else None


_AWS_NAMES: Final = (
    b"secret_access_key",
    b"SECRET_ACCESS_KEY",
    b"SecretAccessKey",
    b"secretAccessKey",
)

# -- passwords in URLs (RFC 3986 userinfo)

_URL_PASSWORD: Final = re.compile(rb"://[^\s\x00:/@\"]{0,128}:([^\s\x00/@\"]{1,256})@")


def _url_password(data: bytes, start: int, end: int, memo: Memo) -> Place:
    found = _URL_PASSWORD.match(data, start)
    return found.span(1) if found else None


# -- JWT and JWE, compact form (RFC 7519, RFC 7516): two to four dots

_JWT_HEAD: Final = re.compile(rb"eyJ[A-Za-z0-9_-]*")
_JWT_REST: Final = re.compile(rb"\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){1,3}")
_JWT_OPEN: Final = re.compile(rb"[A-Za-z0-9_.-]*")


def _jwt(data: bytes, start: int, end: int, memo: Memo) -> Place:
    if start < memo.get("jwt", 0):
        return None  # in the same run as a trigger before: same end, same fate
    head = _JWT_HEAD.match(data, start)
    assert head is not None
    stop = memo["jwt"] = head.end()
    rest = _JWT_REST.match(data, stop)
    if rest is not None:
        return start, rest.end()
    if memo.get("jwt-open", -1) < stop:
        run = _JWT_OPEN.match(data, stop)
        assert run is not None
        memo["jwt-open"] = run.end()
    return (start, len(data)) if memo["jwt-open"] == len(data) else None


TOKENS: Final[dict[str, tuple[Trigger, ...]]] = _from_table()
TOKENS["aws-key"] += tuple(
    Trigger(name, len(name), _aws_secret, _SHORT, always=True) for name in _AWS_NAMES
)
TOKENS["url-password"] = (Trigger(rb"://[^\s\x00/:@]", 4, _url_password, 400),)
TOKENS["jwt"] = (Trigger(rb"eyJ[A-Za-z0-9_-]{8}", 11, _jwt, LONG_REACH, always=True),)
