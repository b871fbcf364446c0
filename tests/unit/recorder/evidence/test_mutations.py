"""Every way to alter a small state or a proof, judged by both verifiers: they agree, and
neither finds anything of it good.

What is flipped bit by bit: each file of each Log, the leaves, the checkpoint, a proof. What
rests on nothing may be flipped, and is named here: bits of base64 that carry none, and the
checkpoint's line for witnesses (FORMAT.md, section 13), which a verifier has no key for.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_verify_evidence import record, verify

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder import framing
from recorder.cli import main
from recorder.evidence import independent_verifier as second
from recorder.evidence import merkle
from recorder.evidence.epochs import epoch_name, read_key
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.leaves import DOMAIN
from recorder.evidence.ledger import Ledger
from recorder.evidence.notes import Checkpoint, Note, parse_checkpoint, parse_note, sign
from recorder.evidence.tiles import Growth, Tiles, join_entries, split_entries
from recorder.journal import Journal
from recorder.log_writer import log_identity, trailer

PLAIN, OTHER, PARTED = (f"01K5P0M4C0000000000000000{letter}" for letter in "0AP")


def record_parts(state: Path, name: str) -> None:
    """A session of some parts."""
    world = World()
    notary = Notary(EvidenceConfig(), state, world)
    journal = Journal(
        state, gateway="gw", clock=world.mono_ns, wall=world.wall_ns, chance=world.chance,
        ballast_bytes=1 << 16, low=0, critical=0, part_size=1024,
    )  # fmt: skip
    log = journal.open({"session": name})
    for number in range(24):
        log.spans([Span(Move.PASS, Side.CLIENT, Mark.PLAIN, b"%0100d" % number, 100 * number)])
        journal.flush()
    log.end("closed", "done")
    journal.flush()
    notary.tick(journal)
    journal.close()
    notary.close()


class Trial:
    """A state that is altered and put right again."""

    def __init__(self, state: Path, folder: Path) -> None:
        self.state = state
        self.ledger = ledger_directory(state)
        self.trust = folder / "root.pub"
        shutil.copy(self.ledger / "root.pub", self.trust)
        self.logs = sorted((state / "sessions").rglob("*.agr"))
        found = (self.ledger / "tile/entries").rglob("*")
        self.entries = next(path for path in found if path.is_file())
        self.survivors: list[Any] = []
        self.formal = False
        """The second verifier may overlook what is only a matter of form."""

    def good(self) -> bool:
        """Whether both find all of it good. They must agree."""
        code, found = verify(self.state, "--all", "--trust", str(self.trust))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            alone = second.main([str(self.trust), str(self.state)])
        formal = self.formal and code != 0
        assert formal or (code == 0) == (alone == 0), (code, found, out.getvalue())
        return code == 0

    @contextlib.contextmanager
    def altered(self, *paths: Path) -> Iterator[None]:
        """Puts the files back after."""
        kept = {path: path.read_bytes() for path in paths}
        try:
            yield
        finally:
            for path, raw in kept.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)

    def alter(self, what: Any, path: Path, raw: bytes | None) -> None:
        """``path`` with other bytes, or without it: nobody may find it good."""
        with self.altered(path):
            path.unlink() if raw is None else path.write_bytes(raw)
            if self.good():
                self.survivors.append(what)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Three sessions, one of them in parts, in two epochs."""
    folder = tmp_path_factory.mktemp("mutations")
    state = folder / "state"
    record(state, [PLAIN])
    ledger = Ledger(ledger_directory(state), lambda: 4_000_000_000_000_000_000)
    ledger.rotate()
    ledger.heartbeat()
    ledger.close()
    record(state, [OTHER])
    record_parts(state, PARTED)
    shutil.rmtree(state / "journal")  # what is in it could stand for what is missing
    found = Trial(state, folder)
    assert len(found.logs) >= 4
    assert found.good()
    yield found
    assert found.good()


def flipped(raw: bytes, bit: int) -> bytes:
    altered = bytearray(raw)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def places(size: int, some: int, every: bool) -> list[int]:
    """All of them, or ``some`` that are always the same."""
    return (
        [*range(size)] if every or size <= some else random.Random(size).sample(range(size), some)
    )


def flips_and_cuts(trial: Trial, path: Path, every: bool) -> None:
    raw = path.read_bytes()
    for bit in places(len(raw) * 8, 25, every):
        trial.alter((path.name, "flip", bit), path, flipped(raw, bit))
    for size in places(len(raw), 10, every):
        trial.alter((path.name, "cut", size), path, raw[:size])
    trial.formal = path == trial.entries  # what is behind the last leaf is no part of the tree
    trial.alter((path.name, "more"), path, raw + b"\0")
    trial.formal = False


DEEP = [False, pytest.param(True, marks=pytest.mark.deep)]


@pytest.mark.parametrize("every", DEEP)
@pytest.mark.timeout(3600)
def test_flips_and_cuts_of_logs(trial: Trial, every: bool) -> None:
    chosen = [path for path in trial.logs if not path.name.startswith(OTHER)]
    for path in chosen if not every else chosen[:3]:
        flips_and_cuts(trial, path, every)
    assert trial.survivors == []


@pytest.mark.parametrize("every", DEEP)
@pytest.mark.timeout(3600)
def test_flips_and_cuts_of_the_ledger(trial: Trial, every: bool) -> None:
    flips_and_cuts(trial, trial.entries, every)
    assert trial.survivors == []
    point = trial.ledger / "checkpoint"
    raw = point.read_bytes()
    last = raw.rindex(b"\xe2\x80\x94")
    for bit in places(len(raw) * 8, 60, every):
        trial.alter(bit // 8, point, flipped(raw, bit))
    for size in places(len(raw), 20, every):
        trial.alter(size - 1, point, raw[:size])
    # The last line is for witnesses only.
    assert [at for at in trial.survivors if at < last] == []
    trial.survivors.clear()


@pytest.mark.parametrize("every", DEEP)
@pytest.mark.timeout(3600)
def test_tiles_of_hashes(trial: Trial, every: bool) -> None:
    """They are made of the leaves, so that only ``--log`` reads them."""
    path = next(p for p in (trial.ledger / "tile/0").rglob("*") if p.is_file())
    raw = path.read_bytes()
    with trial.altered(path):
        for bit in places(len(raw) * 8, 30, every):
            path.write_bytes(flipped(raw, bit))
            assert verify(trial.state, "--log", "--trust", str(trial.trust))[0] == 4, bit
        for size in places(len(raw), 10, every):
            path.write_bytes(raw[:size])
            assert verify(trial.state, "--log", "--trust", str(trial.trust))[0] == 4, size


class Opened:
    """A Log taken apart, to be written again with checksums that hold."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        head = framing.read_file_header(raw, framing.LOG_MAGIC)
        self.seed = framing.seed_of(head.identity)
        self.head = raw[: framing.FILE_HEADER]
        self.records: list[tuple[int, bytes]] = []
        window = framing.Window(lambda size, at: raw[at : at + size])
        at = framing.FILE_HEADER
        while not self.records or self.records[-1][0] != framing.END:
            found = window.record(at, self.seed)
            assert found is not None
            self.records.append((found.kind, found.body))
            at = found.end

    def written(self) -> bytes:
        out, place = self.head, 0
        for kind, body in self.records:
            place = len(out)
            out += framing.frame(kind, body, self.seed, place)
        return out + trailer(place)


def test_records_of_logs(trial: Trial) -> None:
    """Dropped, doubled, swapped, and spliced from another session, checksums made anew."""
    for path in trial.logs:
        count = len(Opened(path).records)
        assert Opened(path).written() == path.read_bytes()
        for index in range(count):
            for other in trial.logs:
                if other == path:
                    continue
                spliced, source = Opened(path), Opened(other).records
                spliced.records[index] = source[min(index, len(source) - 1)]
                trial.alter((path.name, "splice", index), path, spliced.written())
            for what in ("drop", "double"):
                forged = Opened(path)
                forged.records[index : index + 1] = [] if what == "drop" else (
                    [forged.records[index]] * 2
                )  # fmt: skip
                trial.alter((path.name, what, index), path, forged.written())
            swapped = Opened(path)
            records = swapped.records
            records[index], records[index - 1] = records[index - 1], records[index]
            trial.alter((path.name, "swap", index), path, swapped.written())
    assert trial.survivors == []


def test_whole_files(trial: Trial, tmp_path: Path) -> None:
    """Removed, swapped, put under another's name, or good in themselves but unknown."""
    for path in trial.logs:
        trial.alter((path.name, "removed"), path, None)
        for other in trial.logs:
            if other != path:
                trial.alter((path.name, "is", other.name), path, other.read_bytes())
                with trial.altered(path, other):
                    one, two = path.read_bytes(), other.read_bytes()
                    path.write_bytes(two)
                    other.write_bytes(one)
                    assert not trial.good()
    with trial.altered(*(path for path in trial.logs if path.name.startswith(PARTED))):
        for path in trial.logs:
            if path.name.startswith(PARTED):
                path.unlink()
        assert not trial.good()
    forged = tmp_path / "forged"
    record(forged, [PLAIN, "01K5P0M4C0000000000000000Z"], "something else")
    for made in sorted((forged / "sessions").rglob("*.agr")):
        place = trial.logs[0].with_name(made.name)
        if place.exists():
            trial.alter("replaced", place, made.read_bytes())
            continue
        place.write_bytes(made.read_bytes())
        assert not trial.good()
        place.unlink()
    path = next(path for path in trial.logs if path.name.startswith(PLAIN))
    # One that nobody ever checksummed: a header alone.
    head = framing.file_header(framing.LOG_MAGIC, 0, log_identity(PLAIN, 0))
    trial.alter("a header alone", path, head)
    trial.alter("nothing", path, b"")
    trial.alter("text", path, b"psql transcript\n" * 40)
    assert trial.survivors == []


Signer = Callable[[str], tuple[Any, ...]]


class Rewritten:
    """The ledger with other leaves, its tiles and checkpoint made to fit."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.note = parse_note((trial.ledger / "checkpoint").read_bytes())
        self.said = parse_checkpoint(self.note.text)
        self.leaves = split_entries(trial.entries.read_bytes())
        self.files = [path for path in trial.ledger.rglob("*") if path.is_file()]

    def judged(self, leaves: list[bytes], key: Ed25519PrivateKey, epoch: int | None = None) -> bool:
        with self.trial.altered(*self.files):
            shutil.rmtree(self.trial.ledger / "tile")
            growth = Growth(self.trial.ledger, 0)
            growth.add(leaves)
            root = merkle.root(Tiles(self.trial.ledger, len(leaves)).node, len(leaves))
            number = self.said.epoch if epoch is None else epoch
            point = Checkpoint(self.said.origin, len(leaves), root, number, self.said.at)
            signed = sign(point.text(), epoch_name(point.origin), key)
            raw = Note(point.text(), (signed,)).encoded()
            (self.trial.ledger / "checkpoint").write_bytes(raw)
            good = self.trial.good()
            shutil.rmtree(self.trial.ledger / "tile")
        return good


def test_leaves_of_the_ledger(trial: Trial) -> None:
    """Dropped, doubled, swapped, altered, re-dated: by who has no key of its epochs, and, of
    an ended epoch, by who has the present one's (whose certificate is over them)."""
    ledger = Rewritten(trial)
    present = read_key(next((trial.ledger / "keys").glob("epoch-*.key")))
    stranger = Ed25519PrivateKey.generate()
    leaves = ledger.leaves
    assert ledger.judged(leaves, present)
    assert not ledger.judged(leaves, stranger)
    assert not ledger.judged(leaves, present, ledger.said.epoch + 1)
    assert not ledger.judged(leaves, present, 0)
    assert join_entries(leaves) == trial.entries.read_bytes()
    epochs = [index for index, leaf in enumerate(leaves) if leaf[len(DOMAIN)] == 0]
    assert len(epochs) == 2
    for index in range(len(leaves)):
        later = leaves[index][len(DOMAIN)] == 7 or index > epochs[-1]
        dated = bytearray(leaves[index])
        dated[len(DOMAIN) + 5] ^= 1
        swapped = [*leaves]
        swapped[index - 1], swapped[index] = swapped[index], swapped[index - 1]
        for changed in (
            leaves[:index] + leaves[index + 1 :],
            leaves[: index + 1] + leaves[index:],
            [*leaves[:index], bytes(dated), *leaves[index + 1 :]],
            swapped,
        ):
            if changed == leaves:
                continue
            assert not ledger.judged(changed, stranger)
            # Of its own epoch a key can say what it likes: only an anchor helps there.
            if not later:
                assert not ledger.judged(changed, present), index
    # The old epoch goes on beside the new one, by a key that was to be erased.
    before = leaves[: epochs[-1]]
    assert not ledger.judged(before, present, 0)
    assert not ledger.judged(before, present)


def test_an_older_ledger(trial: Trial, tmp_path: Path) -> None:
    """As it was after each of its leaves, signed by itself: what came after is unknown to it."""
    ledger = Rewritten(trial)
    present = read_key(next((trial.ledger / "keys").glob("epoch-*.key")))
    for size in range(1, len(ledger.leaves)):
        kept = ledger.leaves[:size]
        rest = ledger.leaves[size:]
        if all(leaf[len(DOMAIN)] in (4, 7) for leaf in rest):
            continue  # nothing of a session is in what is missing: good, but for an anchor
        assert not ledger.judged(kept, present), size
    record(tmp_path / "another", [PLAIN])
    with trial.altered(*ledger.files):
        shutil.rmtree(trial.ledger)
        shutil.copytree(ledger_directory(tmp_path / "another"), trial.ledger)
        assert not trial.good()
        shutil.rmtree(trial.ledger)


@pytest.mark.parametrize("every", DEEP)
@pytest.mark.timeout(7200)
def test_flips_and_cuts_of_a_proof(trial: Trial, tmp_path: Path, every: bool) -> None:
    proof = tmp_path / "proof.json"
    assert main(["--dir", str(trial.state), "proof", PLAIN, "-o", str(proof)]) == 0
    log = next(path for path in trial.logs if path.name == PLAIN + ".agr")
    raw = proof.read_bytes()

    def good(altered: bytes) -> tuple[bool, bool]:
        proof.write_bytes(altered)
        words = (str(log), "--trust", str(trial.trust), "--proof", str(proof))
        code, _ = verify(tmp_path, *words)
        with contextlib.redirect_stdout(io.StringIO()):
            alone = second.main([str(trial.trust), str(log), str(proof)])
        return code == 0, alone == 0

    def said(altered: bytes) -> Any:
        try:
            return _said(json.loads(altered))
        except (ValueError, KeyError, TypeError):
            return None

    assert good(raw) == (True, True)
    for bit in places(len(raw) * 8, 60, every):
        altered = flipped(raw, bit)
        recorder, alone = good(altered)
        # It can be in other words, or in what no verdict rests on, and then is the same; the
        # second verifier reads over more of these.
        assert alone or not recorder, bit
        assert not alone or said(altered) == said(raw), bit
    for size in places(len(raw.rstrip()), 30, every):
        assert good(raw[:size]) == (False, False), size


def _said(proof: dict[str, Any]) -> Any:
    """What a verdict rests on: all that is signed, but for the line for witnesses."""
    decode = second.unbase64
    note = decode(proof["checkpoint"])
    epoch = len(DOMAIN) + 5
    return (
        [(raw[:epoch], raw[epoch + 8 :]) for raw in map(decode, proof["epochs"])],
        note[: note.rindex(b" ", 0, note.index(b"/epoch")) - 3],
        [
            (item["index"], decode(item["leaf"]), [decode(step) for step in item["path"]],
             [decode(step) for step in item["checkpoint_path"]])
            for item in proof["leaves"]
        ],
    )  # fmt: skip
