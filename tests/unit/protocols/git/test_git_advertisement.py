from __future__ import annotations

import pytest

from protocols.errors import LimitError, WireError
from protocols.git.advertisement import Advertisement
from protocols.git.capabilities import (
    RECEIVE_PACK,
    UPLOAD_PACK,
    V2_FEATURES,
    Offered,
    joined,
    parse,
    strip,
)
from protocols.git.pktline import DELIM, FLUSH, pkt
from protocols.wire import Side

A, B, C = (letter * 40 for letter in (b"a", b"b", b"c"))


def read(lines: list[bytes], *args: object, **more: object) -> tuple[Advertisement, list[bytes]]:
    advertisement = Advertisement(*args, **more)  # type: ignore[arg-type]
    return advertisement, [advertisement.line(line) for line in lines]


FIRST = pkt(
    A + b" HEAD\0multi_ack thin-pack side-band-64k session-id=x packfile-uris push-cert=n "
    b"symref=HEAD:refs/heads/main object-format=sha1 agent=git/2.39.5 x=y filter\n"
)
KEPT = (
    b"multi_ack thin-pack side-band-64k symref=HEAD:refs/heads/main object-format=sha1 "
    b"agent=git/2.39.5 filter"
)


def test_only_what_is_on_the_list_is_advertised() -> None:
    rest = [
        pkt(A + b" refs/heads/main\n"),
        pkt(B + b" refs/tags/v1\n"),
        pkt(C + b" refs/tags/v1^{}\n"),
        pkt(C + b" .have\n"),
        pkt(b"shallow " + C),
        FLUSH,
    ]
    advertisement, out = read([FIRST, *rest])
    assert out[0] == pkt(A + b" HEAD\0" + KEPT + b"\n")
    assert all(mine is theirs for mine, theirs in zip(out[1:], rest, strict=True))
    assert (advertisement.version, advertisement.done) == (0, True)
    assert advertisement.tips == {b"HEAD": A, b"refs/heads/main": A, b"refs/tags/v1": B}
    assert advertisement.peeled == {b"refs/tags/v1": C}
    assert advertisement.shallow == 1
    assert advertisement.offered.oid_length == 40
    assert b"session-id" not in advertisement.offered


def test_what_needs_no_change_is_the_same_line() -> None:
    line = pkt(A + b" HEAD\0" + KEPT)
    assert read([line])[1][0] is line


def test_version_1_and_an_empty_repository() -> None:
    zeros = b"0" * 64
    first = pkt(zeros + b" capabilities^{}\0object-format=sha256 agent=a\n")
    advertisement, out = read([pkt(b"version 1\n"), first, FLUSH], 1)
    assert out == [pkt(b"version 1\n"), first, FLUSH]
    assert (advertisement.version, advertisement.tips) == (1, {})
    assert advertisement.offered.object_format == "sha256"
    assert read([FLUSH])[0].version == 0


def test_no_thin_is_added() -> None:
    line = pkt(A + b" refs/heads/main\0report-status delete-refs push-cert=x ofs-delta\n")
    advertisement, out = read([line, FLUSH], 0, RECEIVE_PACK, (b"no-thin",))
    assert out[0] == pkt(A + b" refs/heads/main\0report-status delete-refs ofs-delta no-thin\n")
    assert b"no-thin" in advertisement.offered


V2 = [
    pkt(b"version 2\n"),
    pkt(b"agent=git/2.39.5\n"),
    pkt(b"ls-refs=unborn\n"),
    pkt(b"fetch=shallow wait-for-done filter ref-in-want sideband-all packfile-uris\n"),
    pkt(b"server-option\n"),
    pkt(b"object-format=sha256\n"),
    pkt(b"object-info\n"),
    pkt(b"session-id=x\n"),
    pkt(b"bundle-uri\n"),
    FLUSH,
]


def test_version_2() -> None:
    advertisement, out = read(V2, 2)
    assert b"".join(out) == b"".join(
        [
            *V2[:3],
            pkt(b"fetch=shallow wait-for-done filter ref-in-want\n"),
            V2[5],
            FLUSH,
        ]
    )
    assert advertisement.features == {
        b"ls-refs": frozenset((b"unborn",)),
        b"fetch": frozenset((b"shallow", b"wait-for-done", b"filter", b"ref-in-want")),
    }
    assert advertisement.offered.oid_length == 64


def test_an_error_in_place_of_refs() -> None:
    line = pkt(b"ERR access denied\n")
    advertisement, out = read([line])
    assert out == [line]
    assert (advertisement.error, advertisement.done) == (b"access denied", True)


@pytest.mark.parametrize(
    "lines",
    [
        [pkt(b"version 2\n")],
        [pkt(b"version 1\n")],
        [pkt(b"hello\n")],
        [pkt(A + b" HEAD\0a"), pkt(b"a" * 64 + b" refs/heads/x")],
        [pkt(A.upper() + b" HEAD\0a")],
        [pkt(A + b" \0a")],
        [pkt(A + b" refs/heads/a b\0a")],
        [pkt(A + b" HEAD\0a"), pkt(A + b" refs/heads/a\0b")],
        [pkt(A + b" HEAD\0a"), DELIM],
        [FLUSH, pkt(A + b" refs/heads/a")],
        [pkt(A + b" HEAD\0" + b"symref=x:y " * 5000)],
    ],
)
def test_what_can_not_be_is_the_upstreams_fault(lines: list[bytes]) -> None:
    with pytest.raises(WireError) as caught:
        read(lines)
    assert caught.value.side is Side.UPSTREAM


def test_the_lists_are_these() -> None:
    """Whoever adds one has read what it means (see the module)."""
    assert sorted(UPLOAD_PACK) == sorted(
        b"agent object-format symref multi_ack multi_ack_detailed no-done thin-pack side-band "
        b"side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress "
        b"include-tag allow-tip-sha1-in-want allow-reachable-sha1-in-want filter".split()
    )
    assert sorted(RECEIVE_PACK) == sorted(
        b"agent object-format report-status report-status-v2 delete-refs side-band-64k quiet "
        b"atomic ofs-delta no-thin push-options".split()
    )
    assert sorted(V2_FEATURES) == [b"fetch", b"ls-refs"]


OFFERED = Offered(UPLOAD_PACK, strip(KEPT, UPLOAD_PACK))


def test_what_a_client_may_choose() -> None:
    raw = b" multi_ack  side-band-64k object-format=sha1 agent=git/1 filter filter"
    assert OFFERED.chosen(raw) == {
        b"multi_ack": None,
        b"side-band-64k": None,
        b"object-format": b"sha1",
        b"agent": b"git/1",
        b"filter": None,
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"push-cert=x",
        b"atomic",
        b"no-progress",
        b"session-id=x",
        b"agent=a\nb",
        b"agent=",
        b"agent",
        b"agent=a\x7f",
        b"agent=a agent=b",
        b"agent=" + b"a" * 300,
        b"filter=x",
        b"object-format=sha256",
        b"object-format=SHA1",
        b"symref=HEAD:refs/heads/x",
        b"multi_ack\n",
        b"=",
        b"multi_ack\0",
    ],
)
def test_what_it_may_not(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        OFFERED.chosen(raw)
    assert caught.value.side is Side.CLIENT


def test_lists_are_bounded() -> None:
    with pytest.raises(LimitError):
        parse(Side.CLIENT, b"a " * 5000)
    assert joined(parse(Side.CLIENT, b"a b=c d=")) == b"a b=c d="
