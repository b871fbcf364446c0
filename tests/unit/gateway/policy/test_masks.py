"""Mask functions: what they show, what they never show, what they refuse."""

import hashlib
import hmac
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.policy import masks
from gateway.policy.masks import MASKS, REDACTED, build

KEY = b"k" * 32


def mask(name, **args):
    return build(name, args, KEY)


def test_redact():
    assert mask("redact")(b"secret") == b"[redacted]"
    assert mask("redact", text="gone ✂")(b"secret") == "gone ✂".encode()


@pytest.mark.parametrize(
    ("value", "n", "shown"),
    [
        (b"4111111111111111", 4, b"****1111"),
        (b"abcd", 4, REDACTED),
        (b"abcde", 4, b"****bcde"),
        (b"", 1, REDACTED),
        ("žluťoučký".encode(), 3, "****čký".encode()),
        ("žlu".encode(), 3, REDACTED),  # three characters, four bytes
        ("日本語".encode(), 1, "****語".encode()),
        (b"\xb1" * 20, 4, REDACTED),  # Latin-1: all look like continuations
    ],
)
def test_keep_last(value, n, shown):
    assert mask("keep-last", n=n)(value) == shown


def test_hash_is_keyed_deterministic_hmac():
    apply = mask("hash")
    want = hmac.new(KEY, b"alice", hashlib.sha256).hexdigest()[:16].encode()
    assert apply(b"alice") == want == mask("hash")(b"alice")
    assert build("hash", {}, b"another key of 32 bytes or so ..")(b"alice") != want


def test_null():
    assert mask("null")(b"x") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"+420 603-12-34", b"+000 000-00-00"),
        (b"AB12 cd@e.com", b"xx00 xx@x.xxx"),
        ("Žižkov 5".encode(), b"xxxxxx 0"),
        (b"\x00\x01a\t", b"xxx\t"),
    ],
)
def test_fixed_format(value, shown):
    assert mask("fixed-format")(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"alice@example.com", b"a***@example.com"),
        (b"a@example.com", b"***@example.com"),
        ("žofie@example.com".encode(), "ž***@example.com".encode()),
        (b"alice", REDACTED),
        (b"alice@my secret", REDACTED),
        (b"a@b.com, secret@c.com", REDACTED),
        (b"alice@x.com\n", REDACTED),
        (b"\xe1lice@x.com", REDACTED),
    ],
)
def test_partial_email(value, shown):
    assert mask("partial-email")(value) == shown


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("reduct", {}),
        ("redact", {"txt": "x"}),
        ("redact", {"text": 5}),
        ("redact", {"text": "a\0b"}),
        ("redact", {"text": "\ud800"}),
        ("redact", {"text": "x" * 201}),
        ("keep-last", {"n": 0}),
        ("keep-last", {"n": 65}),
        ("keep-last", {"n": "4"}),
        ("keep-last", {"n": True}),
        ("hash", {"n": 4}),
        ("null", {"text": "x"}),
    ],
)
def test_bad_arguments(name, args):
    with pytest.raises(ValueError, match="mask"):
        build(name, args, KEY)


def test_hash_refuses_a_short_key():
    with pytest.raises(ValueError, match="16 bytes"):
        build("hash", {}, b"short")


@given(st.binary(max_size=80), st.sampled_from(sorted(MASKS)))
def test_no_mask_raises_and_some_show_nothing_of_the_value(value, name):
    shown = mask(name)(value)
    assert shown is None or isinstance(shown, bytes)
    if name in ("redact", "null"):
        assert shown == (REDACTED if name == "redact" else None)
    if name == "hash":
        assert len(shown) == 16
        assert int(shown, 16) >= 0


@given(st.text(min_size=1, max_size=40), st.integers(1, 64))
def test_keep_last_never_shows_more_than_n_characters(text, n):
    shown = build("keep-last", {"n": n})(text.encode()).decode()
    if shown == REDACTED.decode():
        assert len(text) <= n
    else:
        assert shown == "****" + text[-n:]


@given(st.text(max_size=60))
def test_fixed_format_keeps_the_length_in_characters(text):
    shown = mask("fixed-format")(text.encode()).decode("ascii")
    assert len(shown) == len(text)
    assert not any(c.isalpha() and c != "x" for c in shown)
    assert not any(c.isdigit() and c != "0" for c in shown)


@given(st.binary(min_size=16, max_size=100), st.binary(max_size=100))
def test_hash_is_the_library_s_hmac(key, value):
    want = hmac.new(key, value, hashlib.sha256).hexdigest()[:16].encode()
    assert build("hash", {}, key)(value) == want


def test_hash_of_values_of_every_length_around_a_block():
    apply = build("hash", {}, KEY)
    for size in (*range(260), 1 << 16, (1 << 16) + 55, (1 << 16) + 56, (1 << 16) + 63):
        value = bytes(at & 255 for at in range(size))
        want = hmac.new(KEY, value, hashlib.sha256).hexdigest()[:16].encode()
        assert apply(value) == want


def reference(name, args=None, key=KEY):
    with patch.object(masks, "_native", None):
        return build(name, args or {}, key)


compiled = pytest.mark.skipif(not masks.COMPILED, reason="the masks are not compiled here")
sizes = st.integers(0, 300).flatmap(lambda size: st.binary(min_size=size, max_size=size))
letters = st.text("aZ0 .-@\x7f\x1f\n\t~é日🔑", max_size=300)
encoded = letters.map(str.encode) | letters.map(lambda v: v.encode("latin-1", "replace"))
domain = st.text("aZ09.-", min_size=240, max_size=260).map(str.encode)
address = st.builds(lambda local, rest: local + b"@" + rest, encoded, domain | encoded)


@compiled
@settings(max_examples=500)
@example(b"a@" + b"b" * 253)
@example(b"a@" + b"b" * 254)
@example(b"ab@c")
@example(b"@c")
@example(b"ab@")
@example(b"ab@.c")
@example(b"a\0b@c")
@example(b"\xc3\xa9@c")
@example(b"\xe9b@c")
@example(b"ab@\xc3\xa9")
@given(sizes | encoded | address)
def test_compiled_masks_show_what_the_reference_shows(value):
    for name in MASKS:
        assert build(name, {}, KEY)(value) == reference(name)(value)


@compiled
@given(sizes | encoded, st.integers(1, 64))
def test_the_compiled_keep_last_keeps_as_many(value, n):
    assert build("keep-last", {"n": n})(value) == reference("keep-last", {"n": n})(value)


@compiled
def test_an_at_sign_in_every_place_and_every_byte_in_each_part():
    email, plain = build("partial-email", {}), reference("partial-email")
    for at in range(40):
        value = b"a" * at + b"@" + b"b" * (39 - at)
        assert email(value) == plain(value)
    for byte in range(256):
        for form in (b"%c", b"a%cb@c", b"%cb@c", b"a%c@c", b"ab@%c", b"ab@c%cd"):
            assert email(form % byte) == plain(form % byte)


@compiled
def test_compiled_masks_take_one_value_of_bytes():
    for name in ("keep-last", "partial-email", "fixed-format"):
        apply = build(name, {}, KEY)
        for wrong in ((), ("text",), (b"a", b"b"), (None,)):
            with pytest.raises(TypeError):
                apply(*wrong)
        with pytest.raises(TypeError):
            apply(value=b"a")


@compiled
def test_what_a_reference_raises_comes_out():
    def broken(value):
        raise ZeroDivisionError

    native = masks._native
    for apply in (native.partial_email(broken), native.keep_last(broken, 1)):
        with pytest.raises(ZeroDivisionError):
            apply("ééé@c".encode())
    with pytest.raises(TypeError):
        native.partial_email(lambda value: "text")("é@c".encode())
    with pytest.raises(TypeError):
        native.partial_email(None)
    with pytest.raises(ValueError, match="kept"):
        native.keep_last(broken, 0)
    with pytest.raises(ValueError, match="table"):
        native.translated(b"", b"")
