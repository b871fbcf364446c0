"""Detectors: what each kind finds and leaves, borders, floods, both engines."""

import base64
import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy import iban, luhn
from gateway.policy.detectors import DETECTORS, SEPARATOR, screen

PEM = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
SSH = PEM.replace(b"RSA", b"OPENSSH") + b"\n"
JWT = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

FOUND = [
    ("email", b"alice@example.com"),
    ("email", b"a.b+c_d@mail.example.co.uk"),
    ("email", b"a%40example.com"),
    ("email", b"a&#64;example.com"),
    ("email", b"a\\u0040example\\u002ecom"),
    ("email", b"\\u0061lice@example.com"),
    ("email", '"žofie p"@example.cz'.encode()),
    ("email", "žofie@příklad.cz".encode()),
    ("email", b"x@" + b"a." * 20 + b"com"),
    ("card", b"4111111111111111"),
    ("card", b"4111 1111 1111 1111"),
    ("card", b"5555-5555-5555-4444"),
    ("card", b"378282246310005"),
    ("card", b"3782 822463 10005"),
    ("card", b"6011111111111117"),
    ("card", b"30569309025904"),
    ("card", b"2223003122003222"),
    ("ssn", b"123-45-6789"),
    ("ssn", b"123 45 6789"),
    ("iban", b"DE89370400440532013000"),
    ("iban", b"DE89 3704 0044 0532 0130 00"),
    ("iban", b"gb29nwbk60161331926819"),
    ("iban", b"NO93 8601 1117 947"),
    ("phone", b"+420 603 123 456"),
    ("phone", b"+14155552671"),
    ("phone", b"415-555-2671"),
    ("phone", b"(415) 555-2671"),
    ("phone", b"1-415-555-2671"),
    ("jwt", JWT),
    ("private-key", PEM),
    ("private-key", PEM.replace(b"\n", b"\\n")),
    ("private-key", base64.b64encode(SSH)),
    ("private-key", b"PuTTY-User-Key-File-3: x\nPrivate-Lines: 1\nAAAA\nPrivate-MAC: 00ff"),
    ("aws-key", b"AKIAIOSFODNN7EXAMPLE"),
    ("gcp-key", b"AIza" + b"Sy" + b"a1" * 16 + b"b"),
    ("github-token", b"ghp_" + b"a1B2" * 9),
    ("github-token", b"github_pat_" + b"a1B2" * 15),
    ("gitlab-token", b"glpat-" + b"a1B2_" * 4),
    ("slack-token", b"xoxb-123456789012-abcdefGHIJ"),
    ("slack-token", b"hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXX"),
    ("stripe-key", b"sk_" + b"live_" + b"a1B2" * 6),
    ("npm-token", b"npm_" + b"a1B2" * 9),
    ("pypi-token", b"pypi-AgE" + b"a1B2" * 20),
    ("llm-key", b"sk-ant-api03-" + b"a1B2" * 10),
    ("llm-key", b"sk-" + b"a1B2" * 12),
    ("vault-token", b"hvs." + b"a1B2" * 7),
    ("docker-token", b"dckr_pat_" + b"a1B2" * 6),
    ("azure-key", b"AccountKey=" + b"a1B/" * 21 + b"aw=="),
    ("age-key", b"AGE-SECRET-KEY-1" + b"Q" * 58),
    ("sendgrid-key", b"SG." + b"a" * 22 + b"." + b"b" * 43),
]

LEFT = [
    ("email", b"lodash@4.17.21"),
    ("email", b"user@localhost "),
    ("email", b"@handle and more"),
    ("email", b"a @ b.com"),
    ("card", b"4111111111111112"),  # check digit
    ("card", b"1234567890123452"),  # no network
    ("card", b"994111111111111111199"),  # glued to digits
    ("card", b"2024-01-01 12:34:56.789012"),
    ("ssn", b"000-12-3456"),
    ("ssn", b"666-12-3456"),
    ("ssn", b"900-12-3456"),
    ("ssn", b"123-00-4567"),
    ("ssn", b"123-45-0000"),
    ("ssn", b"123-45 6789"),
    ("ssn", b"123-45-67890"),
    ("ssn", b"9123-45-6789"),
    ("iban", b"DE89370400440532013001"),
    ("iban", b"DE8937040044053201300"),
    ("iban", b"XX89370400440532013000"),
    ("phone", b"2024-01-01 00:00:00+00:00"),
    ("phone", b"1234567890"),
    ("jwt", b"eyJhbGciOiJSUzI1NiJ9 "),
    ("private-key", PEM.replace(b"RSA PRIVATE", b"PUBLIC") + b" "),
    ("private-key", base64.b64encode(b"-----BEGIN CERTIFICATE-----\n" + b"A" * 90)),
    ("aws-key", b"AKIAIOSFOD "),
    ("github-token", b"ghp_short1234 "),
    ("llm-key", b"task-organizer-of-many-things"),
]


def spans(kinds, data, plain=False):
    return screen(kinds, plain).spans(data)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("kind", "value"), FOUND)
def test_found_whole_anywhere(kind, value, plain):
    find = screen([kind], plain).spans
    for before, after in [
        (b"", b""),
        (b"x: ", b" y"),
        (b'"', b'"'),
        (b"\0", b"\0"),
        (b"\n", b"\n"),
    ]:
        data = before + value + after
        assert find(data) == [(len(before), len(before) + len(value))], data


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("kind", "value"), LEFT)
def test_left_alone(kind, value, plain):
    assert spans([kind], value + SEPARATOR, plain) == []
    assert spans([kind], b"x " + value + b" y" + SEPARATOR, plain) == []


def test_every_detector_has_a_case():
    covered = {kind for kind, _ in FOUND} | {"url-password"}
    assert covered == DETECTORS


def test_parts_of_a_text():
    assert spans(["url-password"], b"postgres://app:hunter2@db/x") == [(15, 22)]
    secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    text = b"aws_secret_access_key = " + secret
    assert spans(["aws-key"], text) == [(24, 64)]
    assert spans(["aws-key"], b'{"SecretAccessKey": "' + secret + b'"}') == [(21, 61)]
    assert spans(["card"], b"4111 1111 1111 1111 12/25") == [(0, 19)]
    assert spans(["email"], b"where mail = 'bob@x.org'") == [(14, 23)]


def test_bad_kinds():
    with pytest.raises(ValueError, match="unknown detector 'emial'"):
        screen(["emial"])
    with pytest.raises(ValueError, match="no detector"):
        screen([])


def test_a_key_block_ends_with_its_value():
    data = (
        SEPARATOR.join([b"-----BEGIN PRIVATE KEY-----\nMIIE\nAAAA", b"innocent", PEM]) + SEPARATOR
    )
    assert spans(["private-key"], data) == [(0, 37), (47, 47 + len(PEM))]


def test_a_second_key_behind_a_false_start_is_whole():
    data = b"-----BEGIN PRIVATE KEY-----" + b"A" * 20_000 + PEM + b" tail"
    assert spans(["private-key"], data) == [(0, len(data) - 5)]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("jwt", JWT[:20]),
        ("jwt", JWT[:40]),
        ("private-key", PEM[:20]),
        ("private-key", PEM[:50]),
        ("private-key", base64.b64encode(SSH)[:24]),
        ("email", b"alice@exam"),
        ("github-token", b"ghp_a1B2a1B2"),
        ("aws-key", b"AKIAIOSFODNN7"),
    ],
)
def test_open_at_the_end_is_masked_unless_a_separator_closes_it(kind, data):
    assert spans([kind], b"x " + data) == [(2, 2 + len(data))]
    if not data.startswith(b"-----BEGIN RSA PRIVATE KEY-----"):
        assert spans([kind], b"x " + data + SEPARATOR) == []


@pytest.mark.parametrize("kind", ["email", "card", "ssn", "iban", "phone", "jwt", "github-token"])
@pytest.mark.parametrize("cut", [b"\n", SEPARATOR])
def test_no_match_crosses_a_border(kind, cut):
    value = next(v for k, v in FOUND if k == kind)
    for at in range(1, len(value)):
        for start, end in spans([kind], value[:at] + cut + value[at:] + cut):
            assert cut not in (value[:at] + cut + value[at:] + cut)[start:end]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([v for _, v in FOUND + LEFT]),
            st.sampled_from([v[: len(v) // 2] for _, v in FOUND]),
            st.binary(max_size=12),
            st.sampled_from([b" ", b"\n", SEPARATOR, b"-", b"1", b"@", b"\\u0040", b"4111 " * 3]),
        ),
        max_size=12,
    )
)
def test_both_engines_agree(parts):
    data = b"".join(parts)
    fast = FAST.spans(data)
    assert fast == PLAIN.spans(data)
    assert fast == sorted(fast)
    assert all(0 <= s < e <= len(data) for s, e in fast)
    assert all(a[1] < b[0] for a, b in pairwise(fast))


FAST = screen(DETECTORS)
PLAIN = screen(DETECTORS, plain=True)

FLOODS = [
    b"a@bcd",
    b"4111 ",
    b"eyJaaaaaaaa",
    b"eyJaaaaaaaa..",
    b"eyJaaaaaaaa.",
    b"-----BEGIN PRIVATE KEY-----",
    b"-----BEGIN ",
    b"LS0tLS1CRUdJTi",
    b"PuTTY-User-Key-File-",
    b"\\u0041",
    b"ghp_aaaaaaaa",
    b"ya29.aaaaaaaa",
    b"+1234567",
    b"://a",
    b"DE89 ",
    b"\xff\xfe@",
]


@pytest.mark.parametrize("flood", FLOODS)
def test_floods_cost_linear_time(flood):
    def cost(size):
        data = flood * (size // len(flood))
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            FAST.spans(data)
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(1 << 15), cost(1 << 18)
    assert large < 0.25, "under 1 MB/s"
    assert large < 8 * small * 3 + 0.01


def test_a_crowd_is_masked_whole_and_its_neighbours_are_not():
    crowd = b"a@bcd" * 200
    data = SEPARATOR.join([b"innocent", crowd, b"bob@x.org", b"innocent"]) + SEPARATOR
    found = spans(["email"], data)
    inside = range(9, 9 + len(crowd))
    assert all(any(s <= at < e for s, e in found) for at in inside)
    assert not any(s < 8 for s, _ in found)
    assert data.rindex(b"innocent") >= found[-1][1]
    assert any(s <= data.index(b"bob") and e >= data.index(b"bob") + 9 for s, e in found)


def test_luhn_and_iban_vectors():
    assert luhn.luhn(b"79927398713")
    assert not any(luhn.luhn(b"7992739871%d" % d) for d in (0, 1, 2, 4, 5, 6, 7, 8, 9))
    assert iban.checks(b"GB82WEST12345698765432")
    assert not iban.checks(b"GB82WEST12345698765433")
    assert not iban.checks(b"")


CARD_PARTS = [
    *(b"4111 1111 1111 1111", b"4111111111111111", b"378282246310005", b"4222222222222"),
    *(b" ", b"-", b"12", b"x", b"6304 0000 0000", b"5018 0000 0009", b"4", b"0005"),
]


def every_card(data):
    """All cards by trying every start and every length."""
    covered = set()
    for at in range(len(data) - 3):
        if not data[at : at + 4].isdigit() or data[max(0, at - 1) : at].isdigit():
            continue
        for length in luhn.card_lengths(data[at : at + 4]):
            run = re.match(rb"[0-9]{4}(?:[ -]?[0-9]){%d}(?![0-9])" % (length - 4), data[at:])
            if run and luhn.luhn(run[0].translate(None, b" -")):
                covered |= set(range(at, at + run.end()))
                break
    return covered


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(CARD_PARTS), max_size=7).map(b"".join))
def test_cards_are_those_that_trying_everything_finds(data):
    assert {at for s, e in CARDS.spans(data) for at in range(s, e)} == every_card(data)


CARDS = screen(["card"])


@pytest.mark.parametrize(("kind", "value"), FOUND)
def test_windows_that_overlap_by_the_reach_miss_nothing(kind, value):
    find = screen([kind])
    data = b"some text before " + value + b" and behind it"
    whole = {at for s, e in find.spans(data) for at in range(s, e)}
    for cut in range(len(data) + 1):
        start = max(0, cut - (find.reach - 1))
        seen = {at for s, e in find.spans(data[:cut]) for at in range(s, e)}
        seen |= {start + at for s, e in find.spans(data[start:]) for at in range(s, e)}
        assert whole <= seen
    assert find.reach >= len(value)
