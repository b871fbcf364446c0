"""Packs that no push may have: hidden objects, bombs, collisions, dangerous trees
(rows 22, 27, 28 and 31 of THREATS.md)."""

from __future__ import annotations

import resource
import time
import zlib
from pathlib import Path

import pytest
import raw_packs as raw
from push_lab import Lab, git, said
from raw_packs import BLOB, COMMIT, OFS_DELTA, REF_DELTA, TREE, entry

from gateway.quarantine.quarantine import Confines
from protocols.git.survey import RefUpdate, Survey

FILE = b"hello\n"
FILE_OID = raw.oid(BLOB, FILE)
NOBODY = bytes(range(20))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def push(lab: Lab, top: bytes, *entries: bytes, blob: bytes = FILE, **more: object) -> Survey:
    """Push a new branch whose commit has the tree ``top``, with ``entries`` beside."""
    tip = raw.commit(raw.oid(TREE, top))
    packed = raw.pack(entry(COMMIT, tip), entry(TREE, top), entry(BLOB, blob), *entries)
    return send(lab, raw.oid(COMMIT, tip), packed, **more)


def send(lab: Lab, tip: bytes, packed: bytes, **more: object) -> Survey:
    return lab.look([RefUpdate(lab.zero, tip.hex(), "refs/heads/x")], packed, **more)


PLAIN = raw.tree((b"100644", b"a", FILE_OID))


def test_a_plain_one_passes(lab: Lab) -> None:
    survey = push(lab, PLAIN)
    assert (survey.refusal, survey.objects, survey.commits, survey.largest) == ("", 3, 1, 6)


# -- row 22


def test_objects_that_no_pushed_ref_reaches(lab: Lab) -> None:
    hidden = raw.commit(raw.oid(TREE, PLAIN), text=b"hidden")
    for kind, body in ((COMMIT, hidden), (BLOB, b"hidden"), (TREE, raw.tree())):
        refusal = push(lab, PLAIN, entry(kind, body)).refusal
        assert "no pushed ref reaches" in refusal
        assert raw.oid(kind, body).hex()[:12] in refusal
    many = [entry(BLOB, b"%d" % n) for n in range(9)]
    refusal = push(lab, PLAIN, *many).refusal
    assert "9 objects" in refusal
    assert "6 more" in refusal


def test_an_object_that_is_there_only_to_base_a_delta_on(lab: Lab) -> None:
    base = b"hello\nand more\n"
    ref = entry(
        REF_DELTA, raw.delta(len(base), len(FILE), raw.copy(0, len(FILE))), raw.oid(BLOB, base)
    )
    tip = raw.commit(raw.oid(TREE, PLAIN))
    packed = raw.pack(entry(COMMIT, tip), entry(TREE, PLAIN), entry(BLOB, base), ref)
    refusal = send(lab, raw.oid(COMMIT, tip), packed).refusal
    assert raw.oid(BLOB, base).hex()[:12] in refusal


def test_a_pack_with_a_delete_only(lab: Lab) -> None:
    lab.commit({"a": "a\n"})
    lab.push("main")
    survey = lab.look(lab.updates(main=""), raw.pack(entry(BLOB, b"hidden")))
    assert "no pushed ref reaches" in survey.refusal


# -- row 27


def bounded(lab: Lab, tip: bytes, packed: bytes) -> str:
    """The refusal, after little time and memory."""
    began = time.monotonic()
    survey = send(
        lab, tip, packed, confines=Confines(memory=1 << 30, cpu=20, file=64 << 20), seconds=60.0
    )
    assert time.monotonic() - began < 30
    assert survey.updates[0].whole is False
    return survey.refusal


def test_a_kilobyte_that_expands_without_end(lab: Lab) -> None:
    base = bytes(1 << 16)
    grown, at, entries = len(base), 12, [entry(BLOB, base)]
    for _ in range(3):
        size = min(grown, 0xFFFFFF)
        body = raw.delta(grown, size * 200, raw.copy(0, size) * 200)
        entries.append(entry(OFS_DELTA, body, raw.offset(len(entries[-1]))))
        at, grown = at + len(entries[-1]), size * 200
    packed = raw.pack(*entries)
    assert len(packed) < 4000
    assert grown > 3 << 30
    refusal = bounded(lab, NOBODY, packed)
    assert refusal
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert before < 2 << 20


def test_a_blob_of_many_zeros(lab: Lab) -> None:
    stream = zlib.compressobj(9, wbits=-15)
    block = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    sum_ = 1
    for _ in range(600):
        sum_ = zlib.adler32(bytes(1 << 20), sum_)
    squeezed = b"\x78\xda" + block * 600 + stream.flush() + sum_.to_bytes(4)
    packed = raw.pack(raw.head(BLOB, 600 << 20) + squeezed)
    assert len(packed) < 1 << 20
    assert "reaches" in bounded(lab, NOBODY, packed)


def test_a_chain_of_4096_deltas(lab: Lab) -> None:
    """Not refused for its length: read in bounds."""
    body = b"%06d" % 0 + bytes(2000)
    entries = [entry(BLOB, body)]
    names = []
    for at in range(1, 4097):
        head = b"%06d" % at
        change = bytes((len(head),)) + head + raw.copy(6, 2000)
        entries.append(
            entry(OFS_DELTA, raw.delta(2006, 2006, change), raw.offset(len(entries[-1])))
        )
    for at in range(4097):
        names.append((b"100644", b"%06d" % at, raw.oid(BLOB, b"%06d" % at + bytes(2000))))
    top = raw.tree(*names)
    tip = raw.commit(raw.oid(TREE, top))
    began = time.monotonic()
    survey = send(
        lab, raw.oid(COMMIT, tip), raw.pack(entry(COMMIT, tip), entry(TREE, top), *entries)
    )
    assert survey.refusal == ""
    assert len(survey.updates[0].paths) == 4097
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("distance", [0, 5, 1 << 20, -1])
def test_a_delta_on_itself_or_on_nothing(lab: Lab, distance: int) -> None:
    first = entry(BLOB, FILE)
    body = raw.delta(len(FILE), len(FILE), raw.copy(0, len(FILE)))
    where = b"\x80" * 9 + b"\x00" if distance < 0 else raw.offset(distance)
    assert bounded(lab, NOBODY, raw.pack(first, entry(OFS_DELTA, body, where)))


def test_deltas_that_need_each_other(lab: Lab) -> None:
    a, b = b"a" * 40, b"b" * 40
    body = raw.delta(40, 40, raw.copy(0, 40))
    packed = raw.pack(
        entry(REF_DELTA, body, raw.oid(BLOB, b)), entry(REF_DELTA, body, raw.oid(BLOB, a))
    )
    assert "unresolved" in bounded(lab, NOBODY, packed)


def test_more_objects_promised_than_there_are(lab: Lab) -> None:
    assert bounded(lab, NOBODY, raw.pack(entry(BLOB, FILE), count=0xFFFFFFFF))
    assert bounded(lab, NOBODY, raw.pack(entry(BLOB, FILE), count=2))


def test_an_object_larger_than_it_says(lab: Lab) -> None:
    assert bounded(lab, NOBODY, raw.pack(entry(BLOB, bytes(1 << 20), size=5)))


def test_a_tree_that_stands_for_a_billion_paths(lab: Lab) -> None:
    entries, child, mode = [], FILE_OID, b"100644"
    for _ in range(9):
        body = raw.tree(*((mode, b"%d" % n, child) for n in range(10)))
        entries.append(entry(TREE, body))
        child, mode = raw.oid(TREE, body), b"40000"
    tip = raw.commit(child)
    began = time.monotonic()
    survey = send(
        lab, raw.oid(COMMIT, tip), raw.pack(entry(COMMIT, tip), entry(BLOB, FILE), *entries)
    )
    assert time.monotonic() - began < 60
    assert survey.refusal == ""
    assert survey.updates[0].whole is False


def test_directories_without_end(lab: Lab) -> None:
    entries, child, mode = [], FILE_OID, b"100644"
    for _ in range(5000):
        body = raw.tree((mode, b"d", child))
        entries.append(entry(TREE, body))
        child, mode = raw.oid(TREE, body), b"40000"
    tip = raw.commit(child)
    survey = send(
        lab, raw.oid(COMMIT, tip), raw.pack(entry(COMMIT, tip), entry(BLOB, FILE), *entries)
    )
    assert survey.refusal == ""
    assert survey.updates[0].whole is False


# -- row 28


def test_a_wrong_checksum(lab: Lab) -> None:
    tip = raw.commit(raw.oid(TREE, PLAIN))
    packed = bytearray(raw.pack(entry(COMMIT, tip), entry(TREE, PLAIN), entry(BLOB, FILE)))
    packed[-1] ^= 1
    assert send(lab, raw.oid(COMMIT, tip), bytes(packed)).refusal
    packed[-1] ^= 1
    assert send(lab, raw.oid(COMMIT, tip), bytes(packed)).refusal == ""
    assert send(lab, raw.oid(COMMIT, tip), bytes(packed) + b"junk").refusal
    assert send(lab, raw.oid(COMMIT, tip), bytes(packed[:-3])).refusal


def test_an_object_twice(lab: Lab) -> None:
    assert "twice" in push(lab, PLAIN, entry(BLOB, FILE)).refusal


def test_a_thin_pack(lab: Lab) -> None:
    lab.commit({"a": "1\n" * 500})
    lab.push("main")
    tip = lab.commit({"a": "1\n" * 500 + "2\n"})
    revs = f"{tip}\n^{tip}~1\n".encode()
    thin = git(lab.client, "pack-objects", "--thin", "--revs", "--stdout", "-q", feed=revs)
    assert "unresolved" in lab.look(lab.updates(main="HEAD"), thin).refusal


def test_the_packs_of_another_algorithm(lab: Lab) -> None:
    tip = raw.commit(raw.oid(TREE, PLAIN))
    entries = entry(COMMIT, tip), entry(TREE, PLAIN), entry(BLOB, FILE)
    assert send(lab, raw.oid(COMMIT, tip), raw.pack(*entries, algorithm="sha256")).refusal


# -- row 31

FOUND = [
    raw.tree((b"40000", b".git", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b".GIT", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b".GIT~1", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b"GIT~1", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", ".g\u200cit".encode(), raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b"..", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b".", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b"", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b"x/y", raw.oid(TREE, PLAIN))),
    raw.tree((b"120000", b"x", FILE_OID), (b"40000", b"x", raw.oid(TREE, PLAIN))),
    raw.tree((b"120000", b".gitmodules", FILE_OID), (b"40000", b"x", raw.oid(TREE, PLAIN))),
    raw.tree((b"160000", b"sub\r", FILE_OID), (b"40000", b"x", raw.oid(TREE, PLAIN))),
    raw.tree((b"100644", b"b", FILE_OID), (b"40000", b"a", raw.oid(TREE, PLAIN))),
    raw.tree((b"777777", b"b", FILE_OID), (b"40000", b"x", raw.oid(TREE, PLAIN))),
    raw.tree((b"100644", b"b", b"\0" * 20), (b"40000", b"x", raw.oid(TREE, PLAIN))),
    # A file that is a tree, a tree that is a file.
    raw.tree((b"100644", b"a", raw.oid(TREE, PLAIN))),
    raw.tree((b"40000", b"a", FILE_OID), (b"40000", b"x", raw.oid(TREE, PLAIN))),
]


@pytest.mark.parametrize("top", FOUND, ids=range(len(FOUND)))
def test_dangerous_trees(lab: Lab, top: bytes) -> None:
    refusal = push(lab, top, entry(TREE, PLAIN)).refusal
    assert refusal
    assert refusal.isprintable()
    assert "reaches" not in refusal


@pytest.mark.parametrize(
    "modules",
    [
        b'[submodule "a"]\n\tpath = "sub\r"\n\turl = https://example.org/x\n',
        b'[submodule "../../x"]\n\tpath = sub\n\turl = https://example.org/x\n',
        b'[submodule "a"]\n\tpath = sub\n\turl = -u./payload\n',
        b'[submodule "a"]\n\tpath = -x\n\turl = https://example.org/x\n',
    ],
)
def test_dangerous_lists_of_submodules(lab: Lab, modules: bytes) -> None:
    top = raw.tree((b"100644", b".gitmodules", raw.oid(BLOB, modules)))
    assert push(lab, top, blob=modules).refusal


def test_links_and_submodules_are_told(lab: Lab) -> None:
    top = raw.tree((b"120000", b"link", FILE_OID), (b"160000", b"sub", NOBODY))
    survey = push(lab, top)
    assert survey.refusal == ""
    assert (survey.symlinks, survey.submodules) == (("link",), ("sub",))


def test_a_list_of_submodules_that_is_not_in_the_pack(lab: Lab) -> None:
    """A file of the upstream's own, by another name."""
    modules = '[submodule "a"]\n\tpath = -x\n\turl = https://example.org/x\n'
    lab.commit({"harmless": modules})
    lab.push("main")
    blob = said(lab.client, "rev-parse", "HEAD:harmless")
    top = raw.tree((b"100644", b".gitmodules", bytes.fromhex(blob)))
    tip = raw.commit(raw.oid(TREE, top), bytes.fromhex(lab.tip("refs/heads/main")))
    packed = raw.pack(entry(COMMIT, tip), entry(TREE, top))
    survey = lab.look(
        [RefUpdate(lab.tip("refs/heads/main"), raw.oid(COMMIT, tip).hex(), "refs/heads/main")],
        packed,
    )
    assert survey.refusal


# -- secrets


def test_secrets_are_named(lab: Lab) -> None:
    key = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    token = b"\0\1binary" + b"ghp_" + b"a1" * 18 + b"\0"
    large = b"x" * (17 << 20) + b"\nAKIAIOSFODNN7EXAMPLE\n" + b"x" * (1 << 20)
    lab.commit({"k/id": key, "bin": token, "large": large, "plain": "a@example.org 12\n"})
    survey = lab.look(lab.updates(main="HEAD"))
    assert [(s.kind, s.path) for s in sorted(survey.secrets, key=lambda s: s.path)] == [
        ("github-token", "bin"),
        ("private-key", "k/id"),
        ("aws-key", "large"),
    ]
    assert survey.largest == len(large)
