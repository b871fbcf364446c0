"""A second verifier, written from FORMAT.md alone: it shares no code with the recorder, needs
only Ed25519 beside the standard library, and can be read in one sitting. It judges a Log (all of
its parts, in order) by its proof, or all Logs by a copied ledger:

    python independent_verifier.py ROOT.pub LOG... PROOF
    python independent_verifier.py ROOT.pub STATE-DIRECTORY

It prints a line per session, and leaves with 0 only if all are good. It does not unpack chunks:
whoever altered one altered the root. Anchors it leaves to ``openssl ts -verify`` and others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import sys
from io import BytesIO
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_FORMS = "....BHI...fdBHIQbhiq.....BHIHIHI"  # of numbers and lengths after the tags c0 to df
_CRC = list(range(256))
for _ in range(8):
    _CRC = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in _CRC]


def need(ok: object, why: str) -> None:
    if not ok:
        raise ValueError(why)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "not base64 as it must be")
    return raw


def crc(data: bytes) -> int:
    """CRC-32C as section 1 stores it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF ^ 0xA282EAD8


def unpack(stream: BytesIO) -> Any:
    """One msgpack value; what section 4 allows."""
    tag = stream.read(1)[0]
    if tag < 0x80 or tag >= 0xE0:
        return tag - 256 * (tag >= 0xE0)
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
    count = tag & (0x1F if tag >= 0xA0 else 0x0F)
    if tag >= 0xC0:
        form = ">" + _FORMS[tag - 0xC0]
        need(form != ">.", "msgpack of a forbidden type")
        (count,) = struct.unpack(form, stream.read(struct.calcsize(form)))
    if 0xCA <= tag < 0xD4:
        return count
    if 0xA0 <= tag < 0xDC:
        piece = stream.read(count)
        need(len(piece) == count, "msgpack ends early")
        return piece.decode("utf-8", "surrogateescape") if tag < 0xC0 or tag >= 0xD9 else piece
    pairs = tag < 0x90 or tag >= 0xDE
    items = [unpack(stream) for _ in range(count * (1 + pairs))]
    return dict(zip(items[::2], items[1::2], strict=True)) if pairs else items


def whole(raw: bytes) -> Any:
    stream = BytesIO(raw)
    value = unpack(stream)
    need(not stream.read(1), "something follows a body")
    return value


def read_log(raw: bytes) -> dict[str, Any]:
    """What a file says that is whole: its header, and number, digest, root, END."""
    magic, version, part, identity, zero, check = struct.unpack_from("<8sIIQII", raw)
    need((magic, version, zero, check) == (b"\x89AGR\r\n\x1a\n", 1, 0, crc(raw[:28])), "not a Log")
    at, link, chunks, log = 32, b"wirewarden log v1\0" + raw[:32], 0, {}
    while True:
        magic, kind, _, zero, length, head_crc, body_crc = struct.unpack_from("<BBBBIII", raw, at)
        bound = struct.pack("<Q", identity) + raw[at : at + 8] + struct.pack("<Q", at)
        need((magic, zero, head_crc) == (0xD7, 0, crc(bound)), "a bad record header")
        stored, body = raw[at : at + 16 + length], raw[at + 16 : at + 16 + length]
        need(len(body) == length <= 1 << 20 and body_crc == crc(body), "a bad record")
        need((kind == 1) == (at == 32), "a header out of its place")
        if kind == 1:
            number, seq, time, _, header = whole(body)[:5]
            name = b"wirewarden log file\0%s\0%d" % (header["session"].encode(), part)
            need(sha(name)[:8] == struct.pack("<Q", identity), "the file's id is another's")
            log = header | {"number": part, "from": (number, seq), "at": time}
            log["digest"] = sha(b"wirewarden header v1\0", body)
        elif kind == 5:
            chunk = whole(body)
            need(chunk[0] == chunks and chunk[7] == link, "a chunk out of its place")
            chunks += 1
        elif kind == 3:
            end = whole(body)
            need(end[8:10] == [chunks, link], "the END does not fit what is before")
            tail = struct.pack("<Q4s", at, b"AGRE")
            need(raw[at + len(stored) :] == tail + struct.pack("<I", crc(tail)), "a bad trailer")
            return {**log, "root": sha(link, stored), "end": end}
        link, at = sha(link, stored), at + len(stored)


def read_parts(raws: list[bytes]) -> dict[str, Any]:
    """A session's Log, of all its parts in order (section 6.1): as its first, with ``roots``."""
    logs = [read_log(raw) for raw in raws]
    need([log["number"] for log in logs] == [*range(len(logs))], "a part is missing")
    for log, after in zip(logs, logs[1:], strict=False):  # noqa: RUF007
        number, seq, time, status, _, counts = log["end"][:6]
        said = {"session": log["session"], "wall": log["wall"], "previous": log["root"]}
        said |= {"part": after["number"], "from": (number, seq), "counts": counts}
        follows = said.items() <= after.items() and after["at"] >= time and status == "continued"
        need(follows, "a part does not follow the one before")
    need(logs[-1]["end"][3] != "continued", "its last part is missing")
    return {**logs[0], "roots": [log["root"] for log in logs]}


FIELDS = {0: "I3BQ3z", 1: "t3", 2: "tI3", 3: "tI3t", 4: "tIt", 5: "tt", 6: "t3t", 7: ""}


def read_leaf(raw: bytes) -> tuple[int, int, int, list[Any]]:
    """Kind, epoch, time, fields (t text, I u32, B u8, Q u64, 3 32 bytes, z 64 bytes)."""
    need(raw[:19] == b"wirewarden leaf v1\0" and len(raw) >= 32, "not a leaf")
    kind, epoch, at = struct.unpack_from("<BIQ", raw, 19)
    place, found = 32, []
    for form in FIELDS[kind]:
        size = {"t": 2, "I": 4, "B": 1, "Q": 8, "3": 32, "z": 64}[form]
        if form == "t":
            size, place = int.from_bytes(raw[place : place + 2], "little"), place + 2
        piece, place = raw[place : place + size], place + size
        found.append(int.from_bytes(piece, "little") if form in "IBQ" else piece)
    need(place == len(raw), "a leaf is too short or too long")
    return kind, epoch, at, found


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, over leaf hashes."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha()
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha(b"\1", mth(hashes[:split]), mth(hashes[split:]))


def climb(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to, by recursion on the tree."""
    if size == 1:
        need(not path, "a proof is too long")
        return leaf
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return sha(b"\1", climb(leaf, index, split, path[:-1]), path[-1])
    return sha(b"\1", path[-1], climb(leaf, index - split, size - split, path[:-1]))


class Chain:
    """Epochs, each certified by the one before or the root."""

    def __init__(self, root_file: str) -> None:
        name, _, key = root_file.strip().split("+", 2)
        self.root = unbase64(key)[1:]
        self.origin = "wirewarden/" + sha(b"wirewarden origin\0", self.root).hex()[:16]
        need(name == self.origin, "not a root key")
        self.epochs: list[list[Any]] = []

    def add(self, raw: bytes) -> None:
        kind, epoch, _, fields = read_leaf(raw)
        number, public, by, size, root, signature = fields
        follows = kind == 0 and number == epoch == len(self.epochs) and by <= (number > 0)
        need(follows and (not number or size > self.epochs[-1][3]), "an epoch out of its place")
        name = self.origin.encode()
        form, said = f"<H{len(name)}sI32sQ32s", (len(name), name, number, public, size, root)
        key = Ed25519PublicKey.from_public_bytes(self.epochs[-1][1] if by else self.root)
        key.verify(signature, b"wirewarden epoch v1\0" + struct.pack(form, *said))
        self.epochs.append(fields)

    def checkpoint(self, raw: bytes) -> tuple[int, bytes]:
        """Size and root of a checkpoint by the epoch whose it is to sign."""
        text, _, lines = raw.decode().rpartition("\n\n")
        need(lines[-1:] == "\n" and min((text + lines).replace("\n", " ")) >= " ", "not a note")
        origin, size, root, when = text.split("\n")
        need(origin == self.origin, "a checkpoint of another ledger")
        owner = [fields for fields in self.epochs if fields[3] < int(size)][-1]
        need(when.startswith(f"wirewarden epoch {owner[0]} at "), "a checkpoint of another epoch")
        who, key = self.origin + "/epoch", Ed25519PublicKey.from_public_bytes(owner[1])
        hashed = sha(who.encode(), b"\n\1", owner[1])[:4]
        words = [line.split(" ") for line in lines[:-1].split("\n")]
        signatures = [(dash, name, unbase64(encoded)) for dash, name, encoded in words]
        good = all(dash == "\u2014" and len(raw) > 4 for dash, _, raw in signatures)
        mine = [raw[4:] for _, name, raw in signatures if (name, raw[:4]) == (who, hashed)]
        need(good and len(mine) == 1, "a checkpoint is not signed by its epoch")
        key.verify(mine[0], (text + "\n").encode())
        return int(size), unbase64(root)


def judge(log: dict[str, Any], kind: int, fields: list[Any]) -> None:
    """Does this leaf contradict that Log?"""
    roots = dict(enumerate(log["roots"]))
    part = len(roots) - 1 if kind == 3 else fields[1]
    said = {1: [log["digest"]], 2: [part, roots.get(part)], 3: [len(roots), roots.get(part)]}
    need(said.get(kind, []) == fields[1:][: len(said.get(kind, []))], "the ledger has another")


def verify_proof(trust: str, raws: list[bytes], proof_raw: bytes) -> str:
    """The session's id; an exception when it is not good."""
    log, proof, chain = read_parts(raws), json.loads(proof_raw), Chain(trust)
    for text in proof["epochs"]:
        chain.add(unbase64(text))
    size, root = chain.checkpoint(unbase64(proof["checkpoint"]))
    leaves = [(item, unbase64(item["leaf"])) for item in proof["leaves"]]
    for item, raw in leaves:
        kind, epoch, _, fields = read_leaf(raw)
        own = [*chain.epochs, [0, 0, 0, size, root]][epoch + 1]
        need(chain.epochs[epoch][3] <= item["index"] < own[3], "a leaf outside its epoch")
        for count, wanted, name in ((*own[3:5], "path"), (size, root, "checkpoint_path")):
            path = [unbase64(step) for step in item[name]]
            need(climb(sha(b"\0", raw), item["index"], count, path) == wanted, "a bad proof")
        need(kind in (1, 2, 3) and fields[0] == log["session"].encode(), "another session's leaf")
        judge(log, kind, fields)
    need({1, 3} <= {read_leaf(raw)[0] for _, raw in leaves}, "its beginning or end is not proven")
    return str(log["session"])


def verify_state(trust: str, state: Path) -> dict[str, str]:
    """A finding per session ("" is good); an exception when the ledger itself is not."""
    ledger, chain = state / "evidence", Chain(trust)
    raw_note = (ledger / "checkpoint").read_bytes()
    size = int(raw_note.split(b"\n")[1])
    hashes, before, said = list[bytes](), 0, dict[str, list[tuple[int, list[Any]]]]()
    for tile in range(-(-size // 256)):
        name = f"x{tile // 10**6:03d}/x{tile // 1000 % 1000:03d}/{tile % 1000:03d}"
        path = ledger / "tile/entries" / name.removeprefix("x000/").removeprefix("x000/")
        width = min(256, size - tile * 256)
        partial = path.with_name(f"{path.name}.p") / str(width)
        raw, at = (path if path.exists() else partial).read_bytes(), 0
        for _ in range(width):
            length = int.from_bytes(raw[at : at + 2], "big")
            leaf = raw[at + 2 : at + 2 + length]
            need(len(leaf) == length, "a tile ends early")
            kind, epoch, when, fields = read_leaf(leaf)
            need(when >= before, "a leaf is older than the one before it")
            if kind == 0:
                need(fields[3:5] == [len(hashes), mth(hashes)], "leaves before an epoch changed")
                chain.add(leaf)
            need(epoch == len(chain.epochs) - 1, "a leaf of another epoch")
            if kind in (1, 2, 3, 6):
                said.setdefault(fields[0].decode(), []).append((kind, fields))
            hashes.append(sha(b"\0", leaf))
            before, at = when, at + 2 + length
    need(chain.checkpoint(raw_note) == (size, mth(hashes)), "not the checkpoint's leaves")
    found, logs = {}, dict[str, list[tuple[int, Path]]]()
    for path in (state / "sessions").rglob("*.agr"):
        session, _, part = path.name.removesuffix(".agr").partition(".p")
        logs.setdefault(session, []).append((int(part or 0), path))
    for session in sorted(said.keys() | logs.keys()):
        kinds = [(kind, kind == 2 and fields[1]) for kind, fields in said.get(session, [])]
        found[session] = ""
        try:
            need(len(set(kinds)) == len(kinds), "a leaf is there twice")
            if session in logs:
                log = read_parts([path.read_bytes() for _, path in sorted(logs[session])])
                day = state / strftime("sessions/%Y/%m/%d", gmtime(log["wall"] // 10**9))
                need({path.parent for _, path in logs[session]} == {day}, "it is under another day")
                need(log["session"] == session and (3, False) in kinds, "the ledger has it not")
                for kind, fields in said[session]:
                    judge(log, kind, fields)
            else:
                need((6, False) in kinds, "it was removed")
        except Exception as error:
            found[session] = str(error) or type(error).__name__
    return found


def main(arguments: list[str]) -> int:
    trust, *paths = map(Path, arguments)
    try:
        key, raws = trust.read_text(), [path.read_bytes() for path in paths[:-1]]
        of = [verify_proof(key, raws, paths[-1].read_bytes())] if raws else []
        found = dict.fromkeys(of, "") or verify_state(key, paths[0])
    except Exception as error:  # whatever is thrown at it, it is not good
        found = {"ledger": str(error) or type(error).__name__}
    for session, fault in found.items():
        print(ascii(f"{session}: {'BAD: ' + fault if fault else 'good'}")[1:-1])
    return 4 if any(found.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]) if sys.argv[2:] else __doc__)
