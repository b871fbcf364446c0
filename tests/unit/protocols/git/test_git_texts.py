from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.detectors import screen
from gateway.policy.own import own_screen
from protocols.contract import Mask
from protocols.errors import WireError
from protocols.git.pktline import FLUSH, pkt
from protocols.git.sideband import DATA, ERROR, LARGE, SMALL, TEXT, Bands, band_of, lines
from protocols.git.texts import LEFT_OUT, LONGEST, MASKED, Texts

SECRET = b"hunter2-hunter2"
OWN = own_screen([SECRET])
KEYS = screen(["private-key", "email"])
PEM = (
    b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
    + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n" * 6
    + b"-----END OPENSSH PRIVATE KEY-----\n"
)


def run(texts: Texts, data: bytes, cuts: list[int]) -> bytes:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    out = b"".join(texts.feed(data[a:b]) for a, b in itertools.pairwise(at))
    return out + texts.finish()


WORDS = st.lists(
    st.sampled_from(
        [
            SECRET,
            SECRET[:7],
            SECRET[7:],
            b"\n",
            b"\r",
            b"\r\n",
            b"ok ",
            b"x" * 50,
            b"\x00",
            b"\xff",
            b"a@example.org",
            b" ",
            PEM,
            b"-----BEGIN ",
            b"PuTTY-User-Key-File-2: x\n",
            b"LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZLS0tLS0K\n",
            b"Private-MAC: 00\n",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(WORDS, st.lists(st.integers(0, 2000)))
def test_any_cut_gives_the_same_and_no_secret(data: bytes, cuts: list[int]) -> None:
    whole = run(Texts((OWN, KEYS)), data, [])
    assert run(Texts((OWN, KEYS)), data, cuts) == whole
    assert SECRET not in whole
    assert b"b3BlbnNzaC1rZXktdjEAAAAABG5v" not in whole
    assert b"a@example.org" not in whole
    ends = bytes.maketrans(b"", b"")
    assert [c for c in whole.translate(ends) if c in b"\r\n"] == [c for c in data if c in b"\r\n"]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_nothing_to_mask_is_the_identity(data: bytes, cuts: list[int]) -> None:
    assert run(Texts((OWN,)), data, cuts) == data


def test_a_secret_split_at_every_place() -> None:
    text = b"remote: " + SECRET + b" said\n"
    for at in range(len(text) + 1):
        assert run(Texts((OWN,)), text, [at]) == b"remote: " + MASKED + b" said\n"


def test_finished_lines_leave_at_once_and_others_wait() -> None:
    texts = Texts((OWN,))
    assert texts.feed(b"10%\r20%\r3") == b"10%\r20%\r"
    assert texts.held == 1
    assert texts.feed(b"0%\n") == b"30%\n"
    assert texts.feed(b"bye") == b""
    assert texts.whole(b"fatal: " + SECRET) == b"fatal: " + MASKED
    assert texts.finish() == b"bye"


def test_a_key_block_is_masked_to_its_end_without_any_screen() -> None:
    texts = Texts()
    out = texts.feed(b"before\n" + PEM + b"after\n")
    assert out == b"before\n" + MASKED.join([b"", *[b"\n"] * 7, b"\n"]) + b"after\n"


def test_a_key_block_without_end_ends_some_time() -> None:
    texts = Texts()
    out = texts.feed(b"-----BEGIN PRIVATE KEY-----\n" + b"x\n" * 1000)
    assert out.count(MASKED) == 401
    assert out.endswith(b"x\n")


def test_a_key_in_base64() -> None:
    head = b"LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZLS0tLS0K\n"
    texts = Texts()
    assert texts.feed(head + b"QUFB" * 16 + b"\nand then\n") == (
        MASKED + b"\n" + MASKED + b"\nand then\n"
    )


@pytest.mark.parametrize("step", [1000, LONGEST * 2])
def test_a_line_that_is_too_long_is_left_out(step: int) -> None:
    texts = Texts((OWN,))
    data = b"a\n" + b"x" * (LONGEST + 1) + b"\r" + b"b\n" + b"y" * (LONGEST + 5)
    out = b"".join(texts.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert texts.held <= LONGEST
    assert out + texts.finish() == b"a\n" + LEFT_OUT + b"\rb\n" + LEFT_OUT


def test_a_mask_is_applied_to_each_line() -> None:
    mask = Mask("redact", lambda value: b"[redacted]" if value else None)
    assert Texts((), mask).feed(b"a\n\nb\r") == b"[redacted]\n\n[redacted]\r"
    assert Texts((), Mask("null", lambda value: None)).feed(b"a\nb\n") == b"\n\n"


BANDED = st.lists(
    st.tuples(st.sampled_from([DATA, TEXT, ERROR]), st.binary(max_size=40)), max_size=12
)


@given(BANDED, st.booleans(), st.lists(st.integers(0, 600)))
def test_bands_under_any_cut(listed: list[tuple[int, bytes]], ends: bool, cuts: list[int]) -> None:
    stream = b"".join(pkt(b"%c%b" % (band, data)) for band, data in listed)
    stream += FLUSH if ends else b""
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    bands = Bands()
    got: list[tuple[int, bytes]] = []
    for a, b in itertools.pairwise(at):
        for band, raw in bands.feed(stream[a:b]):
            assert raw
            if band == DATA and got and got[-1][0] == DATA:
                got[-1] = (DATA, got[-1][1] + raw)
            else:
                got.append((band, raw))
        assert sum(len(raw) for _, raw in got) + bands.waiting == b
    assert bands.between
    want: list[tuple[int, bytes]] = []
    for band, data in listed:
        raw = pkt(b"%c%b" % (band, data))
        if band == DATA and want and want[-1][0] == DATA:
            want[-1] = (DATA, want[-1][1] + raw)
        else:
            want.append((band, raw))
    assert got == want + ([(0, FLUSH)] if ends else [])


def test_bands_stop_at_the_flush() -> None:
    bands = Bands()
    assert bands.feed(FLUSH + b"more") == [(0, FLUSH)]
    assert bands.rest == b"more"


@pytest.mark.parametrize("line", [pkt(b"\4x"), pkt(b"\0"), b"0004", b"0001", b"00_8", pkt(b"PACK")])
def test_lines_of_no_band(line: bytes) -> None:
    with pytest.raises(WireError):
        Bands().feed(line + b"0000")
    bands = Bands()
    with pytest.raises(WireError):
        for byte in line + b"0000":
            bands.feed(bytes((byte,)))
    if line[:2] == b"00" and line[:4] not in (b"0001", b"00_8"):
        with pytest.raises(WireError):
            band_of(line)


def test_long_lines_of_the_small_band() -> None:
    assert Bands(SMALL).feed(pkt(b"\1" + b"x" * 995))
    with pytest.raises(WireError):
        Bands(SMALL).feed(pkt(b"\1" + b"x" * 996))


def test_making_lines() -> None:
    assert lines(TEXT, b"") == b""
    assert lines(TEXT, b"hi") == b"0007\2hi"
    data = b"x" * (LARGE + 100)
    made = Bands().feed(lines(ERROR, data))
    assert [len(raw) for _, raw in made] == [LARGE, 110]
    assert b"".join(raw[5:] for _, raw in made) == data
