"""What is fuzzed: each target has seeds, and a function that may end in the errors that it
names and in no other way.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import unicodedata
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import forgery
import zstandard

from protocols.errors import WireError
from protocols.git.packstream import PackLimits, PackStream
from protocols.git.pktline import Pkts
from protocols.postgres import frames as postgres
from protocols.postgres.runs import run_end
from protocols.ssh.frames import Frames, untexts
from protocols.wire import Side
from recorder import framing, records
from recorder.away import AwayError, away_of, note_of
from recorder.catalog import describe
from recorder.errors import FormatError
from recorder.evidence import independent_verifier
from recorder.evidence.anchors import Trust
from recorder.evidence.epochs import load_root
from recorder.evidence.facts import facts_of as evidence_of
from recorder.evidence.inbox import hand_over, policy_leaf, read_items, sealed_leaves
from recorder.evidence.leaves import LeafError, unpack_leaf
from recorder.evidence.ledger import Ledger
from recorder.evidence.notes import (
    NoteError,
    parse_checkpoint,
    parse_note,
    parse_signatures,
    parse_verifier_key,
)
from recorder.evidence.proof import check_proof, make_proof
from recorder.evidence.tiles import Tiles, TilesError, join_entries, split_entries
from recorder.evidence.tokens import TokenError, check_response
from recorder.evidence.watch import Watch
from recorder.holds import HoldError, holds, put_hold
from recorder.index.content import Content, DamagedIndex, facts_of, items_of
from recorder.lines import whole_lines
from recorder.log_reader import LogFile
from recorder.reader import decoded
from recorder.recovery import recover
from recorder.render import jsonable, one_line, safe
from recorder.replay.compare import Comparer
from recorder.replay.messages import Framer, UnreadableError
from recorder.scan import Damage, OpenSegment
from recorder.sealed import NAME as SEALED
from recorder.sealed import note_sealed, read_sealed
from recorder.streams import Hop, Streams
from recorder.timeline import line, objects
from recorder.tombstones import TombstoneError, tombstones
from recorder.verify import verify_file
from recorder.wrapped import read_keys

SEEDS = Path(__file__).with_name("seeds")
VECTORS = Path(__file__).parents[1] / "unit/recorder/vectors/v1"
HOME = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, HOME, True)


@dataclass
class Target:
    run: Callable[[bytes], object]
    seeds: list[bytes]
    errors: tuple[type[Exception], ...] = ()
    most: int = 1 << 16
    """Bytes of an input."""

    def __call__(self, raw: bytes) -> None:
        try:
            self.run(raw)
        except self.errors:
            pass


@dataclass
class World:
    """A state directory with the golden Logs and a ledger of them."""

    state: Path = field(default_factory=lambda: HOME / "state")

    def __post_init__(self) -> None:
        day = self.state / "sessions/2026/11/22"
        day.mkdir(parents=True)
        (HOME / "in").mkdir()
        for name in ("small", "sealed"):
            with closing(LogFile(VECTORS / f"{name}.agr")) as log:
                self.session = str(log.header["session"])
            self.log = day / f"{self.session}.agr"
            shutil.copy(VECTORS / f"{name}.agr", self.log)
        self.small = VECTORS / "small.agr"
        ledger = Ledger(self.state / "evidence", lambda: 1_790_000_000_000_000_000)
        ledger.append([policy_leaf("g", 1, "v1"), *sealed_leaves(sorted(day.glob("*.agr")))])
        ledger.close()
        self.directory = ledger.directory
        self.trust = Trust(load_root(ledger.directory / "root.pub"))
        watch = Watch(ledger.directory)
        self.proof = make_proof(watch, self.session) or b""
        self.leaves = list(Tiles(ledger.directory, ledger.checkpoint.size).entries())
        self.items = forgery.items_of_segment(VECTORS / "small.agj")
        self.header = next(body for kind, body in self.items if kind == framing.HEADER)
        number = records.prefix(self.header)[0]
        self.mine = [
            (kind, body) for kind, body in self.items
            if kind in (framing.DATA, framing.KEYS, framing.GAP)
            and records.prefix(body)[0] == number
        ]  # fmt: skip
        self.ends = [body for kind, body in self.items if kind == framing.END]
        self.name = str(records.unpack(self.header)[4]["session"])


WORLD = World()


def written(raw: bytes, name: str = "x") -> Path:
    path = HOME / "in" / name
    path.write_bytes(raw)
    return path


# ---- recordings --------------------------------------------------------------------


def read_log(raw: bytes) -> None:
    """Everything that looks into a Log."""
    path = written(raw, f"{WORLD.name}.agr")
    verify_file(path)
    for look in (_describe, _timeline, _hops, _pages_of, evidence_of):
        try:
            look(path)
        except FormatError:
            continue


def _describe(path: Path) -> None:
    with closing(LogFile(path)) as log:
        json.dumps(jsonable(describe(log).as_dict()))


def _pages_of(path: Path) -> None:
    for page in Content(path).pages():
        items_of(page.body)


def _timeline(path: Path) -> None:
    with closing(LogFile(path)) as log:
        for record in decoded(log):
            for told in objects(record, True):
                json.dumps(jsonable(told))
            for entry in record.entries:
                assert "\x1b" not in one_line(line(entry))


def _hops(path: Path) -> None:
    for side in Side:
        for arrives in (True, False):
            with closing(LogFile(path)) as log:
                for piece in Streams(log).pieces(Hop(side, arrives)):
                    assert piece.raw is None or len(piece.raw) == piece.length


def log_header(raw: bytes) -> None:
    read_log(forgery.log(WORLD.name, raw, [], None))


def log_record(raw: bytes) -> None:
    """One record of a good Log is another: the first byte says which, the second its kind."""
    at = raw[0] % len(WORLD.mine) if raw else 0
    items = [*WORLD.mine[:at], (raw[1] % 16 if len(raw) > 1 else 2, raw[2:]), *WORLD.mine[at + 1 :]]
    read_log(forgery.log(WORLD.name, WORLD.header, items, None))


def log_end(raw: bytes) -> None:
    read_log(forgery.log(WORLD.name, WORLD.header, WORLD.mine, raw))


def log_chunk(raw: bytes) -> None:
    read_log(forgery.log(WORLD.name, WORLD.header, WORLD.mine, None, 1, raw))


def read_segment(raw: bytes) -> None:
    with OpenSegment(written(raw)) as segment:
        for found in segment.records():
            if not isinstance(found, Damage) and found.kind == framing.DATA:
                records.Decoder().entries(records.unpack(found.body), found.offset)


def recovery(raw: bytes) -> None:
    """A journal with one record that is not as it should be, and rubbish after it."""
    at = raw[0] % len(WORLD.items) if raw else 0
    items = [*WORLD.items]
    items[at] = (items[at][0], raw[1:])
    if len(raw) > 1 and raw[1] == 0xFF:
        items, rest = WORLD.items, raw[2:]
    else:
        rest = b""
    state = HOME / "recovery"
    shutil.rmtree(state, ignore_errors=True)
    (state / "journal/0").mkdir(parents=True)
    (state / "sessions").mkdir()
    (state / "journal/0/00000001.agj").write_bytes(forgery.segment(1, items, rest))
    recover(state / "journal/0", state / "sessions")
    assert recover(state / "journal/0", state / "sessions").logs == []


WRITING = ("base64", "can't be read", "control characters", "a line with a signature", "UTF-8",
           "a note", "a signature is too short", "too many signatures", "a checkpoint")  # fmt: skip

# ---- evidence ------------------------------------------------------------------------


def note(raw: bytes) -> None:
    parse_checkpoint(parse_note(raw).text)


def signatures(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    for parse in (parse_signatures, parse_verifier_key):
        try:
            parse(text)
        except NoteError:
            pass


def leaf(raw: bytes) -> None:
    unpack_leaf(raw)


def tile(raw: bytes) -> None:
    for each in split_entries(raw):
        try:
            unpack_leaf(each)
        except LeafError:
            pass


def token(raw: bytes) -> None:
    check_response(raw, b"what was stamped", CERTIFICATE)


def proof(raw: bytes) -> None:
    """Two verifiers, one verdict."""
    verdict = check_proof(WORLD.log, raw, WORLD.trust)
    try:
        second = independent_verifier.verify_proof(ROOT, [WORLD.log.read_bytes()], raw)
    except Exception:
        second = "bad"  # its main() takes whatever is thrown for that
    bad = verdict.status in ("CORRUPT", "TAMPERED", "UNKNOWN-KEY")
    # In how a proof is written the shipped one is the stricter of the two.
    written_badly = any(words in verdict.message for words in WRITING)
    assert bad == (second == "bad") or (bad and written_badly), (verdict, second)


def inbox(raw: bytes) -> None:
    from hashlib import sha256

    path = written(raw, "x.leaves")
    try:
        read_items(path)
    except FormatError:
        pass
    path.write_bytes(raw + sha256(raw).digest())
    read_items(path)


# ---- what lies beside ------------------------------------------------------------------


def index_row(raw: bytes) -> None:
    facts_of(raw, Path("x"))


def index_page(raw: bytes) -> None:
    items_of(raw)


def index_page_inside(raw: bytes) -> None:
    items_of(zstandard.compress(raw))


def lines_of_holds(raw: bytes) -> None:
    state = HOME / "lines"
    state.mkdir(exist_ok=True)
    for name, read in (("holds.jsonl", holds), ("tombstones.jsonl", lambda s: [*tombstones(s)])):
        (state / name).write_bytes(raw)
        try:
            read(state)
        except (HoldError, TombstoneError):
            pass
    whole_lines(state / "holds.jsonl")


def sealed_list(raw: bytes) -> None:
    (HOME / "in" / SEALED).write_bytes(raw)
    read_sealed(HOME / "in")


def keys(raw: bytes) -> None:
    read_keys(raw)


def away(raw: bytes) -> None:
    path = HOME / "in" / "gone.agr"
    note_of(path).write_bytes(raw)
    away_of(path)


UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def terminal(raw: bytes) -> None:
    for text in (raw.decode("utf-8", "surrogateescape"), raw.decode("utf-16-le", "replace")):
        for shown in (safe(text), one_line(text, 40)):
            assert not {unicodedata.category(char) for char in shown} & UNSAFE, ascii(shown)


# ---- protocols ---------------------------------------------------------------------------


def matcher(raw: bytes) -> None:
    """Messages of a recording against those of a server."""
    half = len(raw) // 2
    sides = []
    for part in (raw[:half], raw[half:]):
        framer = Framer()
        try:
            sides.append(list(framer.feed(part, len(part))))
        except UnreadableError:
            sides.append([])
    for then, now in zip(*sides, strict=False):
        Comparer().compare(then, now, None)


def postgres_bodies(raw: bytes) -> None:
    """Each reader of a message's body."""
    for read in (postgres.read_query, postgres.read_parse, postgres.read_bind, postgres.read_call,
                 postgres.read_target, postgres.read_execute, postgres.read_fields,
                 postgres.read_types, postgres.read_copy_width):  # fmt: skip
        try:
            read(raw, 0, len(raw))
        except WireError:
            pass
    assert run_end(raw, 0, 68, 6) <= len(raw)


def pkt_lines(raw: bytes) -> None:
    lines = Pkts(Side.CLIENT)
    lines.feed(raw)
    while lines.next() is not None:
        pass


def pack_stream(raw: bytes) -> None:
    stream = PackStream("sha1", PackLimits(size=1 << 20, objects=1000, object=1 << 22,
                                           inflated=1 << 23, free=1 << 20))  # fmt: skip
    for at in range(0, len(raw), 37):
        stream.feed(raw[at : at + 37])


def ssh_frames(raw: bytes) -> None:
    for found in Frames(Side.CLIENT).feed(raw):
        try:
            untexts(found.body)
        except ValueError:
            pass


# ---- seeds -------------------------------------------------------------------------------


def _pack() -> bytes:
    import hashlib

    body = b"PACK" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big")
    body += bytes([0x30 | 5]) + zlib.compress(b"hello")
    return body + hashlib.sha1(body).digest()


def _files(*names: str) -> list[bytes]:
    return [(VECTORS / name).read_bytes() for name in names]


def _inbox_seeds() -> list[bytes]:
    folder = HOME / "seeds"
    folder.mkdir()
    hand_over(folder, [policy_leaf("g", 1, "v1"), *sealed_leaves([WORLD.log])])
    raw = next(folder.glob("*.leaves")).read_bytes()
    return [raw, raw[:-32]]


def _rows() -> list[bytes]:
    return [Content(WORLD.log).facts.packed()]


def _pages() -> list[bytes]:
    return [page.body for page in Content(WORLD.small).pages()]


def _line_seeds() -> list[bytes]:
    state = HOME / "line-seeds"
    state.mkdir()
    put_hold(state, "a", "b", WORLD.session)
    return [(state / "holds.jsonl").read_bytes()]


def _sealed_seed() -> list[bytes]:
    folder = HOME / "sealed-seed"
    folder.mkdir()
    note_sealed(folder, [1, 2, 3])
    return [(folder / SEALED).read_bytes()]


def _messages() -> list[bytes]:
    one = postgres.frame(ord("T"), b"\0\1a\0" + bytes(18)) + postgres.frame(ord("C"), b"SELECT 1\0")
    one += postgres.frame(ord("D"), b"\0\1\0\0\0\1x") + postgres.frame(ord("Z"), b"I")
    other = one.replace(b"SELECT 1", b"SELECT 2")
    return [one + other, postgres.frame(ord("E"), b"SERROR\0C42601\0\0") * 2]


def _keys_seed() -> list[bytes]:
    found = forgery.items_of_segment(VECTORS / "small.agj")
    mine = [body for kind, body in found if kind == framing.KEYS]
    return mine or [records.packer().pack([1, 1, 0, [["a", b"k" * 80]]])]


ROOT = (WORLD.directory / "root.pub").read_text()
CERTIFICATE = (SEEDS / "authority.pem").read_bytes()
_PAGES = _pages()

TARGETS = {
    "log": Target(read_log, _files("tiny.agr", "small.agr", "sealed.agr")),
    "log-header": Target(log_header, [WORLD.header], (FormatError,)),
    "log-record": Target(
        log_record,
        [bytes((at, kind)) + body for at, (kind, body) in enumerate(WORLD.mine)],
        (FormatError,),
    ),
    "log-end": Target(log_end, WORLD.ends, (FormatError,)),
    "log-chunk": Target(log_chunk, [zstandard.compress(b"x" * 1000), b"x" * 50], (FormatError,)),
    "segment": Target(read_segment, _files("tiny.agj", "small.agj"), (FormatError,)),
    "recovery": Target(
        recovery, [bytes((at,)) + body for at, (_, body) in enumerate(WORLD.items)], most=4096
    ),
    "note": Target(note, [(WORLD.directory / "checkpoint").read_bytes()], (NoteError,)),
    "signatures": Target(
        signatures, [ROOT.encode(), (WORLD.directory / "checkpoint").read_bytes()]
    ),
    "leaf": Target(leaf, WORLD.leaves, (LeafError,)),
    "tile": Target(tile, [join_entries(WORLD.leaves)], (TilesError,)),
    "token": Target(token, [(SEEDS / "token.tsr").read_bytes()], (TokenError,)),
    "proof": Target(proof, [WORLD.proof]),
    "inbox": Target(inbox, _inbox_seeds(), (FormatError,)),
    "index-row": Target(index_row, _rows(), (DamagedIndex,)),
    "index-page": Target(index_page, _PAGES, (DamagedIndex,)),
    "index-page-inside": Target(
        index_page_inside, [zstandard.decompress(page) for page in _PAGES], (DamagedIndex,)
    ),
    "lines": Target(lines_of_holds, _line_seeds(), (ValueError,)),
    "sealed-list": Target(sealed_list, _sealed_seed()),
    "keys": Target(keys, _keys_seed(), (FormatError,)),
    "away": Target(away, [b'{"schema":"wirewarden.away/1","place":"x","size":1}\n'], (AwayError,)),
    "terminal": Target(terminal, ["\x1b]52;c;AAAA\x07 e\u0301\u202e\u200b \U000e0041".encode()]),
    "matcher": Target(matcher, _messages()),
    "postgres": Target(postgres_bodies, [*_messages(), b"s\0select $1\0\0\1\0\0\0\x17"]),
    "pkt-lines": Target(pkt_lines, [b"0009hello0000", b"0001000200000004"], (WireError,)),
    "pack": Target(pack_stream, [_pack()], (WireError,)),
    "ssh-frames": Target(ssh_frames, [b"\x01\x00\x00\x00\x04\x00\x00\x00\x00"], (WireError,)),
}
