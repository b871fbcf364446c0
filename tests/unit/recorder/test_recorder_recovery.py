"""What a journal does with what a crash left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from recorder_world import ULIDS, C, Legs, U, header, make_journal, play_session

from protocols.wire import Move
from recorder import verify
from recorder.errors import FormatError, RecorderError
from recorder.journal import Journal
from recorder.log_reader import LogFile
from recorder.reader import decoded, every_log, open_recording
from recorder.records import StoredSpan
from recorder.recovery import Recovery, recover
from recorder.scan import Damage, OpenSegment
from recorder.segment import segment_path
from recorder.state import sessions_directory, worker_directory
from recorder.streams import Hop, Streams


def crashed(state: Path, sessions: int = 2, sync: bool = False) -> tuple[Path, list[Legs]]:
    """A journal whose process died: its directory, and what was flushed."""
    journal = make_journal(state)
    legs = [play_session(journal, ULIDS[n], end=n % 2 == 1) for n in range(sessions)]
    if sync:
        journal.sync()
        journal.open(header(ULIDS[9]))
        journal.flush()  # carries the COMMIT
    os.close(journal._lock)
    return journal.directory, legs


def again(state: Path) -> Recovery:
    return recover(worker_directory(state, "0"), sessions_directory(state))


def snapshot(state: Path) -> dict[str, bytes]:
    return {str(p.relative_to(state)): p.read_bytes() for p in state.rglob("*") if p.is_file()}


def out(state: Path, session: str) -> bytes:
    recording = open_recording(state, session)
    return b"".join(p.raw or b"?" * p.length for p in Streams(recording).pieces(Hop(U, False)))


def test_an_open_session_is_recovered_and_twice_is_once(tmp_path: Path) -> None:
    _, legs = crashed(tmp_path)
    result = again(tmp_path)
    assert [p.stem for p in result.logs] == ULIDS[:2]
    assert [p.stem for p in result.recovered] == ULIDS[:1]
    assert (result.torn, result.corrupt, result.notices) == ([], [], [])
    verdict = verify.verify(open_recording(tmp_path, ULIDS[0]))
    assert verdict.status == verify.INCOMPLETE
    assert "recovered" in verdict.message
    assert verify.verify(open_recording(tmp_path, ULIDS[1])).status == verify.OK
    log = open_recording(tmp_path, ULIDS[0])
    end = log.peek_end()
    assert end is not None
    assert end.summary["subject"] == "ci@repo"
    assert out(tmp_path, ULIDS[0]) == legs[0].hops[U, False].replace(b"pw-proof", b"?" * 8)
    before = snapshot(tmp_path)
    assert again(tmp_path).logs == []
    assert snapshot(tmp_path) == before


def test_recovery_survives_its_own_crash(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    again(tmp_path / "a")
    whole = {k: v for k, v in snapshot(tmp_path / "a").items() if k.startswith("sessions")}
    # Died after the first Log, with the second half written: the journal is still there.
    first = sorted(whole)[0]
    (tmp_path / "b" / first).parent.mkdir(parents=True)
    (tmp_path / "b" / first).write_bytes(whole[first])
    second = tmp_path / "b" / sorted(whole)[1]
    second.with_name(f".{second.name}.tmp").write_bytes(b"half")
    again(tmp_path / "b")
    found = {k: v for k, v in snapshot(tmp_path / "b").items() if k.startswith("sessions")}
    assert found == whole
    assert directory.exists()


def test_a_tail_torn_anywhere_is_cut_and_kept(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path / "base", sessions=1)
    raw = segment_path(directory, 1).read_bytes()
    with OpenSegment(segment_path(directory, 1)) as segment:
        bounds = [r.end for r in segment.records() if not isinstance(r, Damage)]
    cuts = sorted({*range(0, len(raw), 97), *(b + d for b in bounds for d in (-1, 0, 1))})
    for cut in cuts:
        state = tmp_path / "try"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(tmp_path / "base", state)
        os.truncate(segment_path(worker_directory(state, "0"), 1), min(cut, len(raw)))
        result = again(state)
        assert result.corrupt == [], (cut, result.notices)
        if 32 < cut < len(raw):
            assert bool(result.torn) == (cut not in bounds), cut
        if result.torn:
            kept = result.torn[0].read_bytes()
            assert raw[:cut].endswith(kept)
        logs = list(every_log(state))
        assert len(logs) == (cut >= bounds[0])
        for log in logs:
            assert verify.verify_file(log).status == verify.INCOMPLETE


def test_zeros_after_the_end_are_a_torn_tail(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path)
    path = segment_path(directory, 1)
    os.truncate(path, path.stat().st_size + 5000)
    result = again(tmp_path)
    assert len(result.torn) == 1
    assert result.corrupt == []


def test_damage_in_the_middle_is_corruption_and_the_rest_is_saved(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path)
    path = segment_path(directory, 1)
    raw = bytearray(path.read_bytes())
    with OpenSegment(path) as segment:
        found = [r for r in segment.records() if not isinstance(r, Damage)]
    hit = found[4]
    raw[hit.offset + 20] ^= 1
    path.write_bytes(raw)
    result = again(tmp_path)
    assert [p.name for p in result.corrupt] == ["00000001.agj.corrupt"]
    assert result.corrupt[0].read_bytes() == bytes(raw)
    assert any(f"byte {hit.offset}" in notice for notice in result.notices)
    statuses = {p.stem: verify.verify_file(p) for p in every_log(tmp_path)}
    assert statuses[ULIDS[0]].status == verify.INCOMPLETE
    assert "missing" in statuses[ULIDS[0]].message
    assert statuses[ULIDS[1]].status == verify.OK
    assert result.next_segment == 2
    assert again(tmp_path).logs == []


def test_a_lost_header_quarantines(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path)
    path = segment_path(directory, 1)
    raw = bytearray(path.read_bytes())
    raw[32 + 20] ^= 1
    path.write_bytes(raw)
    result = again(tmp_path)
    assert [p.stem for p in result.logs] == [ULIDS[1]]
    assert any("header is lost" in notice for notice in result.notices)
    assert result.corrupt


@pytest.mark.parametrize("what", ["flip", "cut"])
def test_damage_below_the_watermark_is_never_a_torn_tail(tmp_path: Path, what: str) -> None:
    directory, _ = crashed(tmp_path, sync=True)
    path = segment_path(directory, 1)
    raw = bytearray(path.read_bytes())
    with OpenSegment(path) as segment:
        found = [r for r in segment.records() if not isinstance(r, Damage)]
    if what == "flip":
        raw[found[2].offset + 3] ^= 8
        path.write_bytes(raw)
    else:
        # The COMMIT stays, moved into a later segment: it says that the first was longer.
        journal_tail = raw[found[-1].offset :]
        assert journal_tail
        make_later_segment(directory, path)
        os.truncate(path, found[3].offset)
    result = again(tmp_path)
    assert result.torn == []
    assert [p.name for p in result.corrupt] == ["00000001.agj.corrupt"]


def make_later_segment(directory: Path, first: Path) -> None:
    from recorder import framing
    from recorder.records import packer
    from recorder.segment import Segment

    later = Segment(segment_path(directory, 2), 2, lambda n: b"\7" * n)
    body = packer().pack([1, first.stat().st_size])
    os.write(later.fd, framing.frame(framing.COMMIT, body, later.seed, later.end))
    os.close(later.fd)


def test_a_stale_segment_does_not_pass(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path)
    path = segment_path(directory, 1)
    path.rename(segment_path(directory, 3))
    result = again(tmp_path)
    assert result.logs == []
    assert [p.name for p in result.corrupt] == ["00000003.agj.corrupt"]


def test_damage_offsets_are_exact(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path)
    path = segment_path(directory, 1)
    with OpenSegment(path) as segment:
        found = [r for r in segment.records() if not isinstance(r, Damage)]
    raw = bytearray(path.read_bytes())
    raw[found[3].offset : found[5].offset] = bytes(found[5].offset - found[3].offset)
    path.write_bytes(raw)
    with OpenSegment(path) as segment:
        seen = list(segment.records())
    assert [d for d in seen if isinstance(d, Damage)] == [
        Damage(found[3].offset, found[5].offset, "no valid record header", False)
    ]
    assert len([r for r in seen if not isinstance(r, Damage)]) == len(found) - 2


def test_a_full_disk_at_recovery_refuses_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("recorder.log_writer.os.fsync", full)
        with pytest.raises(RecorderError, match="No space"):
            make_journal(tmp_path)
    journal: Journal = make_journal(tmp_path)
    assert [p.stem for p in journal.recovery.logs] == ULIDS[:2]
    journal.close()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_held_command_survives_without_its_forward(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    log = journal.open(header())
    legs = Legs()
    log.spans([legs.take(C, b"Q held")])
    journal.flush()
    log.spans([legs.forward(C, 0, 6)])  # never flushed: never moved
    os.close(journal._lock)
    again(tmp_path)
    found = open_recording(tmp_path, ULIDS[0])
    assert isinstance(found, LogFile)
    spans = [e for r in decoded(found) for e in r.entries if isinstance(e, StoredSpan)]
    assert [span.move for span in spans] == [Move.TAKE]


def test_an_unreadable_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.agj"
    path.write_bytes(b"")
    with pytest.raises(FormatError):
        OpenSegment(path)


def test_a_log_that_is_not_this_sessions_is_not_taken_for_it(tmp_path: Path) -> None:
    directory, _ = crashed(tmp_path, sessions=1)
    other = tmp_path / "other"
    journal = make_journal(other)
    log = journal.open({**header(ULIDS[0]), "peer": "somebody else"})
    log.end("closed", "x")
    journal.flush()
    os.close(journal._lock)
    foreign = again(other).logs[0]
    place = tmp_path / foreign.relative_to(other)
    place.parent.mkdir(parents=True)
    shutil.copy(foreign, place)
    result = again(tmp_path)
    assert result.logs == []
    assert "same id" in result.notices[0]
    assert place.read_bytes() == foreign.read_bytes()
    assert (directory / "00000001.agj.corrupt").exists()


def test_a_damaged_log_is_written_again_while_the_journal_has_it(tmp_path: Path) -> None:
    crashed(tmp_path / "a", sessions=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    good = again(tmp_path / "a").logs[0]
    place = tmp_path / "b" / good.relative_to(tmp_path / "a")
    place.parent.mkdir(parents=True)
    raw = bytearray(good.read_bytes())
    raw[600] = raw[600] ^ 1  # as after a power cut: all there but for a block within
    place.write_bytes(raw)
    assert again(tmp_path / "b").logs == [place]
    assert place.read_bytes() == good.read_bytes()
    assert place.with_name(place.name + ".damaged").read_bytes() == raw
