"""A second verifier, written from FORMAT.md alone: it shares no code with the
recorder, needs only Ed25519 beside the standard library, and can be read in
one sitting. It judges a Log by its proof, or all Logs by a copied ledger:

    python independent_verifier.py ROOT.pub LOG PROOF
    python independent_verifier.py ROOT.pub STATE-DIRECTORY

It prints a line per session, and leaves with 0 only if all of them are good.
It does not unpack chunks: whoever altered one altered the root. Anchors it
leaves to ``openssl ts -verify`` and to the witness's own tools.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Bad(Exception):
    """What is wrong."""


def need(ok: object, why: str) -> None:
    if not ok:
        raise Bad(why)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def crc(data: bytes) -> int:
    """CRC-32C as section 1 stores it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF ^ 0xA282EAD8


_CRC = list(range(256))
for _ in range(8):
    _CRC = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in _CRC]


_FIXED = dict(zip(range(0xCA, 0xD4), "fdBHIQbhiq", strict=True))
_SIZED = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I"}
_SIZED |= {0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}


def unpack(raw: bytes, at: int = 0) -> tuple[Any, int]:
    """One msgpack value and where it ends; what section 4 allows."""
    tag, at = raw[at], at + 1
    if tag < 0x80 or tag >= 0xE0:
        return (tag if tag < 0x80 else tag - 256), at
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    form = ">" + (_FIXED.get(tag) or _SIZED.get(tag) or "0s")
    need(tag < 0xC0 or len(form) == 2, "msgpack of a forbidden type")
    count = tag & (0x1F if tag >= 0xA0 else 0x0F)
    if tag >= 0xC0:
        (count,) = struct.unpack_from(form, raw, at)
        at += struct.calcsize(form)
    if tag in _FIXED:
        return count, at
    if 0xA0 <= tag < 0xDC:
        piece = raw[at : at + count]
        need(len(piece) == count, "msgpack ends early")
        text = tag < 0xC0 or tag >= 0xD9
        return (piece.decode("utf-8", "surrogateescape") if text else piece), at + count
    pairs, items = tag < 0x90 or tag >= 0xDE, []
    for _ in range(count * (1 + pairs)):
        item, at = unpack(raw, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2], strict=True)) if pairs else items), at


def whole(raw: bytes) -> Any:
    value, end = unpack(raw)
    need(end == len(raw), "something follows a body")
    return value


def read_log(raw: bytes) -> dict[str, Any]:
    """Session, part, header digest and root of a Log that is whole."""
    need(raw[:8] == b"\x89AGR\r\n\x1a\n" and len(raw) >= 32, "not a Log")
    version, part, identity, zero, check = struct.unpack_from("<IIQII", raw, 8)
    need(version == 1 and zero == 0 and check == crc(raw[:28]), "a bad file header")
    at, link, chunks = 32, b"", 0
    header: dict[str, Any] = {}
    digest = b""
    while True:
        need(at + 16 <= len(raw), "it ends early")
        magic, kind, _, zero, length, head_crc, body_crc = struct.unpack_from("<BBBBIII", raw, at)
        bound = struct.pack("<Q", identity) + raw[at : at + 8] + struct.pack("<Q", at)
        need(magic == 0xD7 and zero == 0 and length <= 1 << 20, "no record")
        need(head_crc == crc(bound), "a record header's checksum is wrong")
        body = raw[at + 16 : at + 16 + length]
        need(len(body) == length, "it ends early")
        need(body_crc == crc(body), "a record's checksum is wrong")
        stored = raw[at : at + 16 + length]
        if at == 32:
            need(kind == 1, "it does not start with a header")
            header = whole(body)[4]
            name = b"wirewarden log file\0%s\0%d" % (header["session"].encode(), part)
            need(sha(name)[:8] == struct.pack("<Q", identity), "the file's id is another's")
            link = sha(b"wirewarden log v1\0", raw[:32], stored)
            digest = sha(b"wirewarden header v1\0", body)
        elif kind == 3:
            end = whole(body)
            need(end[8:10] == [chunks, link], "the END does not fit what is before")
            tail = struct.pack("<Q4s", at, b"AGRE")
            need(raw[at + 16 + length :] == tail + struct.pack("<I", crc(tail)), "a bad trailer")
            root = sha(link, stored)
            return {"session": header["session"], "part": part, "digest": digest, "root": root}
        else:
            need(kind != 1, "a second header")
            if kind == 5:
                chunk = whole(body)
                need(chunk[0] == chunks and chunk[7] == link, "a chunk out of its place")
                chunks += 1
            link = sha(link, stored)
        at += 16 + length


FIELDS: dict[int, str] = {0: "I3BQ3z", 1: "t3", 2: "tI3", 3: "tI3t", 4: "tIt", 5: "tt",
                          6: "t3t", 7: ""}  # fmt: skip
"""t text, I u32, B u8, Q u64, 3 32 bytes, z 64 bytes."""


def read_leaf(raw: bytes) -> tuple[int, int, int, list[Any]]:
    """Kind, epoch, time, fields."""
    need(raw[:19] == b"wirewarden leaf v1\0" and len(raw) >= 32, "not a leaf")
    kind, epoch, at = struct.unpack_from("<BIQ", raw, 19)
    need(kind in FIELDS, "a leaf of an unknown kind")
    place, found = 32, []
    for form in FIELDS[kind]:
        if form == "t":
            size = int.from_bytes(raw[place : place + 2], "little")
            place += 2
        else:
            size = {"I": 4, "B": 1, "Q": 8, "3": 32, "z": 64}[form]
        piece = raw[place : place + size]
        need(len(piece) == size, "a leaf ends early")
        place += size
        found.append(int.from_bytes(piece, "little") if form in "IBQ" else piece)
    need(place == len(raw), "something follows a leaf")
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
    need(path, "a proof is too short")
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return sha(b"\1", climb(leaf, index, split, path[:-1]), path[-1])
    return sha(b"\1", path[-1], climb(leaf, index - split, size - split, path[:-1]))


def signed(public: bytes, signature: bytes, message: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except Exception as error:
        raise Bad(f"{what} is not signed as it must be") from error


class Chain:
    """Epochs, each certified by the one before or the root."""

    def __init__(self, root_file: str) -> None:
        name, _, key = root_file.strip().split("+", 2)
        self.root = base64.b64decode(key, validate=True)[1:]
        self.origin = "wirewarden/" + sha(b"wirewarden origin\0", self.root).hex()[:16]
        need(name == self.origin, "not a root key")
        self.epochs: list[list[Any]] = []

    def add(self, raw: bytes) -> None:
        kind, epoch, _, fields = read_leaf(raw)
        need(kind == 0, "not an epoch")
        number, public, by, size, root, signature = fields
        need(number == epoch == len(self.epochs), "an epoch out of its place")
        need(by == 0 or (by == 1 and self.epochs), "an epoch certified by nobody")
        need(not self.epochs or size > self.epochs[-1][3], "an epoch begins too early")
        name = self.origin.encode()
        message = b"wirewarden epoch v1\0" + struct.pack("<H", len(name)) + name
        message += struct.pack("<I", number) + public + struct.pack("<Q", size) + root
        signed(self.epochs[-1][1] if by else self.root, signature, message, f"epoch {number}")
        self.epochs.append(fields)

    def checkpoint(self, raw: bytes) -> tuple[int, bytes]:
        """Size and root of a checkpoint by the epoch whose it is to sign."""
        text, _, lines = raw.decode().rpartition("\n\n")
        origin, size, root, _ = (text + "\n").split("\n")[:-1]
        need(origin == self.origin, "a checkpoint of another ledger")
        owner = [fields for fields in self.epochs if fields[3] < int(size)][-1]
        need(text.split("\n")[3].startswith(f"wirewarden epoch {owner[0]} at "), "its epoch")
        who = self.origin + "/epoch"
        hashed = sha(who.encode(), b"\n\1", owner[1])[:4]
        for line in lines.splitlines():
            _, name, encoded = line.split(" ")
            signature = base64.b64decode(encoded, validate=True)
            if name == who and signature[:4] == hashed:
                signed(owner[1], signature[4:], (text + "\n").encode(), "a checkpoint")
                return int(size), base64.b64decode(root, validate=True)
        raise Bad("a checkpoint is not signed by its epoch")


def judge(log: dict[str, Any], kind: int, fields: list[Any]) -> None:
    """Does this leaf contradict that Log?"""
    if kind == 1 and log["part"] == 0:
        need(fields[1] == log["digest"], "its header is another than the ledger has")
    if kind == 3:
        need(fields[2] == log["root"], "it is another Log than the ledger has")


def verify_proof(trust: str, log_raw: bytes, proof_raw: bytes) -> str:
    """The session's id; ``Bad``."""
    log, proof, chain = read_log(log_raw), json.loads(proof_raw), Chain(trust)
    for text in proof["epochs"]:
        chain.add(base64.b64decode(text))
    size, root = chain.checkpoint(base64.b64decode(proof["checkpoint"]))
    kinds = set()
    for item in proof["leaves"]:
        raw = base64.b64decode(item["leaf"])
        kind, epoch, _, fields = read_leaf(raw)
        own: Any = [size, root]
        if epoch + 1 < len(chain.epochs):
            own = chain.epochs[epoch + 1][3:5]
        need(chain.epochs[epoch][3] <= item["index"] < own[0], "a leaf outside its epoch")
        steps: Any = ((own, "path"), ((size, root), "checkpoint_path"))
        for (count, wanted), name in steps:
            path = [base64.b64decode(step) for step in item[name]]
            found = climb(sha(b"\0", raw), item["index"], count, path)
            need(found == wanted, "a proof does not lead to the root")
        need(kind in (1, 3) and fields[0] == log["session"].encode(), "a leaf of another session")
        judge(log, kind, fields)
        kinds.add(kind)
    need(kinds == {1, 3}, "the proof lacks the session's beginning or end")
    return str(log["session"])


def verify_state(trust: str, state: Path) -> dict[str, str]:
    """A finding per session ("" is good); ``Bad`` when the ledger itself is not."""
    ledger, chain = state / "evidence", Chain(trust)
    raw_note = (ledger / "checkpoint").read_bytes()
    size = int(raw_note.split(b"\n")[1])
    hashes: list[bytes] = []
    said: dict[str, list[tuple[int, list[Any]]]] = {}
    before = 0
    for tile in range(-(-size // 256)):
        name = f"{tile % 1000:03d}"
        for above in (tile // 1000, tile // 1_000_000):
            name = f"x{above % 1000:03d}/{name}" if above else name
        width = min(256, size - tile * 256)
        path = ledger / "tile/entries" / name
        path = (
            path if width == 256 or path.exists() else path.with_name(f"{path.name}.p") / f"{width}"
        )
        raw, at = path.read_bytes(), 0
        for _ in range(width):
            length = int.from_bytes(raw[at : at + 2], "big")
            leaf = raw[at + 2 : at + 2 + length]
            kind, epoch, when, fields = read_leaf(leaf)
            need(when >= before, "a leaf is older than the one before it")
            if kind == 0:
                need(fields[3:5] == [len(hashes), mth(hashes)], "leaves before an epoch changed")
                chain.add(leaf)
            need(epoch == len(chain.epochs) - 1, "a leaf of another epoch")
            if kind in (1, 3, 6):
                said.setdefault(fields[0].decode(), []).append((kind, fields))
            hashes.append(sha(b"\0", leaf))
            before, at = when, at + 2 + length
    need(chain.checkpoint(raw_note) == (size, mth(hashes)), "not the checkpoint's leaves")
    found = {}
    logs = {path.stem: path for path in (state / "sessions").rglob("*.agr")}
    for session in sorted(said.keys() | logs.keys()):
        kinds = [kind for kind, _ in said.get(session, [])]
        found[session] = ""
        try:
            need(len(set(kinds)) == len(kinds), "a leaf is there twice")
            if session in logs:
                log = read_log(logs[session].read_bytes())
                need(log["session"] == session and 3 in kinds, "the ledger does not know it")
                for kind, fields in said[session]:
                    judge(log, kind, fields)
            else:
                need(6 in kinds, "it was removed")
        except Exception as error:
            found[session] = str(error) or type(error).__name__
    return found


def main(arguments: list[str]) -> int:
    trust = Path(arguments[0]).read_text()
    try:
        if len(arguments) == 3:
            log, proof = Path(arguments[1]).read_bytes(), Path(arguments[2]).read_bytes()
            found = {verify_proof(trust, log, proof): ""}
        else:
            found = verify_state(trust, Path(arguments[1]))
    except Exception as error:  # whatever is thrown at it, it is not good
        found = {"ledger": str(error) or type(error).__name__}
    for session, fault in found.items():
        print(f"{session}: {'BAD: ' + fault if fault else 'good'}")
    return 4 if any(found.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
