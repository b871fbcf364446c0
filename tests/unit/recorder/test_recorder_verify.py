"""Nothing that is done to a Log goes unseen."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from recorder_world import ULIDS, C, U, header, make_journal, play_session

from protocols.wire import Mark, Move, Span
from recorder import framing, records, verify
from recorder.errors import FormatError
from recorder.framing import FILE_HEADER, RECORD_HEADER
from recorder.log_reader import LogFile
from recorder.log_writer import LogWriter, first_link, log_identity, next_link, trailer
from recorder.reader import decoded, open_recording
from recorder.state import log_path


def a_log(state: Path) -> Path:
    journal = make_journal(state, sealer=True)
    play_session(journal)
    journal.close()
    found = open_recording(state, ULIDS[0])
    return found.path


def status(path: Path, raw: bytes) -> verify.Verdict:
    path.write_bytes(raw)
    return verify.verify_file(path)


def flips(path: Path, places: list[int]) -> None:
    raw = path.read_bytes()
    trial = path.with_name("trial.agr")
    for bit in places:
        altered = bytearray(raw)
        altered[bit // 8] ^= 1 << bit % 8
        verdict = status(trial, bytes(altered))
        assert verdict.status in (verify.CORRUPT, verify.TAMPERED), (bit, verdict)
        assert verdict.offset is not None
        assert verdict.offset <= bit // 8


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    size = path.stat().st_size * 8
    rng = random.Random(7)
    flips(path, [*range(FILE_HEADER * 8 + RECORD_HEADER * 8), *rng.sample(range(size), 1500)])


@pytest.mark.deep
def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    flips(path, list(range(path.stat().st_size * 8)))


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    raw = path.read_bytes()
    trial = tmp_path / "trial.agr"
    for size in range(len(raw)):
        verdict = status(trial, raw[:size])
        assert verdict.status == verify.INCOMPLETE, (size, verdict)
        assert verdict.offset is not None
        assert verdict.offset <= size
    assert status(trial, raw + b"\0").status == verify.TAMPERED
    assert status(trial, raw + raw).status == verify.TAMPERED


class Forger:
    """Takes a Log apart and writes it again with checksums that hold."""

    def __init__(self, raw: bytes) -> None:
        head = framing.read_file_header(raw, framing.LOG_MAGIC)
        self.seed = framing.seed_of(head.identity)
        self.file_header = raw[:FILE_HEADER]
        window = framing.Window(lambda size, at: raw[at : at + size])
        self.parts = []
        offset = FILE_HEADER
        while True:
            found = window.record(offset, self.seed)
            assert found is not None
            self.parts.append((found.kind, found.body))
            offset = found.end
            if found.kind == framing.END:
                return

    def write(self) -> bytes:
        out = self.file_header
        for kind, body in self.parts:
            place = len(out)
            out += framing.frame(kind, body, self.seed, place)
        return out + trailer(place)


def a_long_log(state: Path, session: str = ULIDS[0]) -> bytes:
    journal = make_journal(state, sealer=True)
    log = journal.open(header(session))
    offset = 0
    for turn in range(200):
        raw = os.urandom(3000)
        log.spans([Span(Move.PASS, U, Mark.PLAIN, raw, offset)])
        log.command(turn, "run", f"select {turn}", 0)
        offset += len(raw)
        journal.flush()
    log.end("closed", "x")
    journal.close()
    return open_recording(state, session).path.read_bytes()


def test_chunks_can_not_be_dropped_swapped_or_spliced(tmp_path: Path) -> None:
    raw = a_long_log(tmp_path / "a")
    other = Forger(a_long_log(tmp_path / "b", ULIDS[1]))
    trial = tmp_path / "trial.agr"
    assert status(trial, Forger(raw).write()).status == verify.OK
    chunks = [i for i, part in enumerate(Forger(raw).parts) if part[0] == framing.CHUNK]
    assert len(chunks) > 3
    for index in chunks:
        forged = Forger(raw)
        del forged.parts[index]
        verdict = status(trial, forged.write())
        assert verdict.status == verify.TAMPERED, verdict
        swapped = Forger(raw)
        to = chunks[0] if index != chunks[0] else chunks[1]
        swapped.parts[index], swapped.parts[to] = swapped.parts[to], swapped.parts[index]
        assert status(trial, swapped.write()).status == verify.TAMPERED
        spliced = Forger(raw)
        spliced.parts[index] = other.parts[index]
        verdict = status(trial, spliced.write())
        assert verdict.status == verify.TAMPERED
        doubled = Forger(raw)
        doubled.parts.insert(index, doubled.parts[index])
        assert status(trial, doubled.write()).status == verify.TAMPERED
    headed = Forger(raw)
    headed.parts[0] = other.parts[0]
    assert status(trial, headed.write()).status == verify.TAMPERED
    ended = Forger(raw)
    ended.parts[-1] = other.parts[-1]
    assert status(trial, ended.write()).status == verify.TAMPERED


def test_an_altered_chunk_is_placed_exactly(tmp_path: Path) -> None:
    forged = Forger(a_long_log(tmp_path))
    kind, body = forged.parts[3]
    items = records.unpack(body)
    items[8] = bytes(items[8][:-1]) + bytes((items[8][-1] ^ 1,))
    forged.parts[3] = (kind, records.packer().pack(items))
    verdict = status(tmp_path / "trial.agr", forged.write())
    assert verdict.status in (verify.TAMPERED, verify.CORRUPT)
    assert verdict.offset is not None
    sizes = [FILE_HEADER, *(RECORD_HEADER + len(b) for _, b in forged.parts)]
    starts = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    assert verdict.offset in (starts[3], starts[4])


def rewritten(path: Path, change: object) -> verify.Verdict:
    """Write a Log anew from another's records, each passed through ``change``."""
    log = LogFile(path)
    number_header = records.packer().pack([1, 0, 0, 1, log.header])
    out = path.with_name("rewritten.agr")
    writer = LogWriter(out, log.header["session"], number_header)
    for item in log.stored():
        writer.add(item.kind, change(item))  # type: ignore[operator]
    assert log.end is not None
    end = log.end
    writer.finish([1, end.seq, end.at, end.status, end.reason, list(end.counts), end.summary])
    return verify.verify_file(out)


def test_byte_counts_must_agree(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    assert rewritten(path, lambda item: item.body).status == verify.OK

    def cut(item: object) -> bytes:
        body = records.unpack(item.body)  # type: ignore[attr-defined]
        for entry in body[3:]:
            if entry[0] == 4:
                entry[3] = entry[3][:-1]
        return bytes(records.packer().pack(body))

    verdict = rewritten(path, cut)
    assert verdict.status == verify.TAMPERED
    assert "join" in verdict.message or "counts" in verdict.message


def test_decoder_bombs_are_refused(tmp_path: Path) -> None:
    bombs = [
        b"\xdd\xff\xff\xff\xff",
        b"\x93\x01\x00\x00" + b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000 + b"\x01",
        b"\x91\xc7\x01\x05x",
        b"\x91\x82\xa1a\x01\xa1a\x02",
        b"\x91\x81\x01\x02",
        b"\x01",
        b"",
        b"\x91\x01\x01",
        b"\x91\xa2\xff",
    ]
    for bomb in bombs:
        with pytest.raises(FormatError):
            records.unpack(bomb)
    # A chunk that says it is small and unpacks to much more.
    import zstandard

    body = zstandard.compress(bytes(50 << 20))
    session = ULIDS[0]
    packed = records.packer()
    seed = framing.seed_of(log_identity(session, 0))
    head = framing.file_header(framing.LOG_MAGIC, 0, log_identity(session, 0))
    named = packed.pack([1, 0, 0, 1, {"session": session, "wall": 5}])
    out = head + framing.frame(framing.HEADER, named, seed, len(head))
    chunk = packed.pack([0, 1, 1000, 1, 1, 1, 1, first_link(out), body])
    stored = framing.frame(framing.CHUNK, chunk, seed, len(out))
    assert len(next_link(first_link(out), stored)) == 32
    verdict = status(tmp_path / "bomb.agr", out + stored)
    assert verdict.status == verify.CORRUPT
    assert "size" in verdict.message


def test_random_garbage_raises_only_format_errors(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = a_log(tmp_path)
    raw = path.read_bytes()
    trial = tmp_path / "trial.agr"
    for _ in range(300):
        altered = bytearray(raw)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(altered))
            altered[at : at + rng.randrange(20)] = rng.randbytes(rng.randrange(20))
        trial.write_bytes(altered)
        assert verify.verify_file(trial).status != verify.OK or bytes(altered) == raw
        try:
            for _ in decoded(LogFile(trial)):
                pass
        except FormatError:
            pass


def test_paths_are_by_day() -> None:
    assert log_path(Path("s"), "X", 1_790_000_000_000_000_000) == Path("s/2026/09/21/X.agr")
    assert C != U
