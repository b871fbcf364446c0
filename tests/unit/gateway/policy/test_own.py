"""The gateway's own secrets: found in every encoding, never printed."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.own import ENCODINGS, own_screen

SECRET = b"p\"w/'<\\ \xc5\xbe+%&="
TEXT = SECRET.decode()

WRITTEN = [
    SECRET,
    json.dumps(TEXT)[1:-1].encode(),
    json.dumps(TEXT, ensure_ascii=False)[1:-1].encode(),
    json.dumps(TEXT)[1:-1].replace("/", "\\/").encode(),
    quote(SECRET).encode(),
    quote(SECRET, safe="").encode(),
    quote_plus(SECRET).encode(),
    SECRET.replace(b"'", b"''"),
    html.escape(TEXT).encode(),
    SECRET.hex().encode(),
    SECRET.hex().upper().encode(),
]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("written", WRITTEN)
def test_found_as_written(written, plain):
    screen = own_screen([SECRET], plain)
    assert screen.spans(b"ab " + written + b" cd") == [(3, 3 + len(written))]
    assert screen.reach >= len(written)


def test_nine_encodings():
    assert len(ENCODINGS) == 9


@pytest.mark.parametrize("plain", [False, True])
@settings(max_examples=150, deadline=None)
@given(
    secret=st.binary(min_size=6, max_size=40),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
    urlsafe=st.booleans(),
)
def test_base64_of_a_text_around_it_shows_nothing_of_it(plain, secret, before, after, urlsafe):
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    data = encode(before + secret + after)
    covered = {at for s, e in own_screen([secret], plain).spans(data) for at in range(s, e)}
    first = len(before) * 8 // 6
    last = ((len(before) + len(secret)) * 8 - 1) // 6
    assert set(range(first, last + 1)) <= covered


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=6, max_size=12), min_size=1, max_size=4),
    st.lists(st.binary(max_size=8), max_size=4),
    st.integers(0, 3),
)
def test_both_engines_agree_and_find_every_secret(secrets, noise, times):
    data = b"".join(noise) + b"".join(secrets) * times
    found = own_screen(secrets).spans(data)
    assert found == own_screen(secrets, plain=True).spans(data)
    for secret in secrets if times else []:
        at = data.find(secret)
        assert any(s <= at and at + len(secret) <= e for s, e in found)


def test_overlapping_and_touching_secrets_are_one_span():
    screen = own_screen([b"abcdef", b"defghi"])
    assert screen.spans(b"..abcdefghi..") == [(2, 11)]
    assert screen.spans(b"abcdefabcdef") == [(0, 12)]


def test_none_short_and_silent():
    assert own_screen([]) is None
    with pytest.raises(ValueError, match="at least 6") as caught:
        own_screen([b"long enough", b"abcde"])
    assert "abcde" not in str(caught.value)
    for plain in (False, True):
        screen = own_screen([b"hunter2hunter2"], plain)
        assert "hunter2" not in repr(screen) + repr(screen.spans) + str(screen)


def test_nothing_in_ordinary_data():
    assert own_screen([b"hunter2hunter2"]).spans(b"the quick brown fox " * 3000) == []
