"""Signed notes, checkpoints, cosignatures and leaves: one encoding, strictly read."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.evidence.leaves import (
    Kind,
    LeafError,
    name_of,
    pack_fields,
    pack_leaf,
    unpack_leaf,
)
from recorder.evidence.notes import (
    COSIGNATURE,
    Checkpoint,
    Note,
    NoteError,
    cosign,
    cosigned_at,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    sign,
    verified,
    verifier_key,
)

KNOWN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
KNOWN = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501
"""The example of the Go package note, where the format comes from."""


def test_a_known_note() -> None:
    name, kind, public = parse_verifier_key(KNOWN_KEY)
    assert (name, kind) == ("PeterNeumann", 1)
    assert verifier_key(name, public) == KNOWN_KEY
    note = parse_note(KNOWN.encode())
    assert note.encoded() == KNOWN.encode()
    assert verified(note, name, public)
    with pytest.raises(NoteError, match="false"):
        verified(Note(note.text.replace("don't", "do"), note.signatures), name, public)
    assert not verified(note, "Enoch", public)
    with pytest.raises(NoteError):
        parse_verifier_key(KNOWN_KEY.replace("c74f20a3", "c74f20a4"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no signatures\n",
        KNOWN.encode()[:-1],
        KNOWN.encode() + b"\n",
        KNOWN.replace("— ", "- ").encode(),
        KNOWN.replace("nAM=", "nAN=").encode(),
        KNOWN.replace("nAM=", "nAM").encode(),
        b"\xff" + KNOWN.encode(),
        b"a\r" + KNOWN.encode(),
        b"x" * (1 << 17),
    ],
)
def test_what_is_no_note(raw: bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(raw)


def test_checkpoints_have_one_text() -> None:
    point = Checkpoint("gw/1", 7, bytes(32), 3, 1_790_000_000_000_000_000)
    assert parse_checkpoint(point.text()) == point
    lines = point.text().split("\n")
    for bad in (
        point.text() + "more\n",
        point.text()[:-1],
        point.text().replace("\n7\n", "\n07\n"),
        point.text().replace("\n7\n", "\n-7\n"),
        point.text().replace("\n7\n", "\n٧\n"),
        point.text().replace(lines[2], "AAAA"),
        point.text().replace("epoch 3", "epoch +3"),
        point.text().replace("gw/1", "gw 1"),
    ):
        with pytest.raises(NoteError):
            parse_checkpoint(bad)


def test_cosignatures_say_when() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    text = Checkpoint("gw", 1, bytes(32), 0, 5).text()
    _, raw = cosign(text, "witness", key, 1_700_000_000)
    assert cosigned_at(text, raw, "witness", public) == 1_700_000_000
    for false in (raw[:-1], raw[:5] + b"\1" + raw[6:], raw[:-1] + bytes((raw[-1] ^ 1,))):
        with pytest.raises(NoteError):
            cosigned_at(text, false, "witness", public)
    with pytest.raises(NoteError):
        cosigned_at(text.replace("gw", "gx"), raw, "witness", public)
    with pytest.raises(NoteError):
        cosigned_at(text, raw, "another", public)
    # A plain signature by the same key is another statement.
    with pytest.raises(NoteError):
        cosigned_at(text, sign(text, "witness", key)[1], "witness", public)
    assert parse_verifier_key(verifier_key("witness", public, COSIGNATURE))[1] == COSIGNATURE


def leaf() -> bytes:
    fields = pack_fields(Kind.START, {"session": "01K", "digest": bytes(32)})
    return pack_leaf(Kind.START, 1, 2, fields)


def test_a_leaf_has_one_encoding() -> None:
    raw = leaf()
    found = unpack_leaf(raw)
    assert (found.kind, found.epoch, found.at) == (Kind.START, 1, 2)
    assert found.text("session") == "01K"
    assert raw.hex() == (
        "7769726577617264656e206c656166207631000101000000"
        "02000000000000000300" + b"01K".hex() + "00" * 32
    )
    for cut in range(len(raw)):
        with pytest.raises(LeafError):
            unpack_leaf(raw[:cut])
    with pytest.raises(LeafError):
        unpack_leaf(raw + b"\0")
    with pytest.raises(LeafError, match="kind"):
        unpack_leaf(pack_leaf(99, 0, 0, b""))  # type: ignore[arg-type]


def test_names_tell_leaves_apart() -> None:
    values: list[tuple[Kind, dict[str, int | str | bytes]]] = [
        (Kind.START, {"session": "A", "digest": bytes(32)}),
        (Kind.DELETION, {"session": "A", "root": bytes(32), "reason": ""}),
        (Kind.PART, {"session": "A", "part": 1, "root": bytes(32)}),
        (Kind.PART, {"session": "A", "part": 2, "root": bytes(32)}),
        (Kind.PART, {"session": "A1", "part": 2, "root": bytes(32)}),
        (Kind.GAP, {"session": "A", "reason": "x"}),
    ]
    names = {name_of(kind, pack_fields(kind, fields)) for kind, fields in values}
    assert len(names) == len(values)
    assert name_of(Kind.HEARTBEAT, b"") is None
