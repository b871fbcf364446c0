"""What a session lost stands in the ledger, and verify says so."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from test_verify_evidence import verify

sys.path.insert(0, str(Path(__file__).parents[1]))
from recorder_world import ULIDS, U, World, header, make_journal

from protocols.wire import Mark, Move, Span
from recorder.evidence.glance import Glance
from recorder.evidence.inbox import inbox_directory, ledger_directory
from recorder.evidence.leaves import Kind, unpack_leaf
from recorder.evidence.ledger import Ledger
from recorder.evidence.tiles import Tiles
from recorder.framing import RECORD_HEADER
from recorder.log_reader import LogFile
from recorder.reader import every_log
from recorder.scan import Damage, OpenSegment


def damaged(state: Path, hit: tuple[int, ...]) -> Path:
    """A journal of a killed gateway with a session of six records, of which those that
    ``hit`` numbers are damaged."""
    inbox_directory(state).mkdir(parents=True)
    journal = make_journal(state, World())
    log = journal.open(header())
    for number in range(6):
        log.spans([Span(Move.PASS, U, Mark.PLAIN, b"record %d" % number, 8 * number)])
        journal.flush()
    os.close(journal._lock)
    path = journal.directory / "00000001.agj"
    with OpenSegment(path) as segment:
        places = [found.offset for found in segment.records() if not isinstance(found, Damage)]
    raw = bytearray(path.read_bytes())
    for number in hit:
        raw[places[1 + number] + RECORD_HEADER + 4] ^= 1
    path.write_bytes(raw)
    return path


def recovered(state: Path) -> list[str]:
    """The reasons of the GAP leaves after the next start."""
    make_journal(state).close()
    ledger = Ledger(ledger_directory(state), World().wall)
    ledger.take_inbox()
    entries = Tiles(ledger.directory, ledger.checkpoint.size).entries()
    leaves = [unpack_leaf(raw) for raw in entries]
    ledger.close()
    return [leaf.text("reason") for leaf in leaves if leaf.kind is Kind.GAP]


def test_a_gap_in_a_log_is_a_leaf(tmp_path: Path) -> None:
    damaged(tmp_path, (1, 3, 4))
    reasons = recovered(tmp_path)
    assert len(reasons) == 2  # of the session, and of the segment
    assert any("3 records of part 0 are lost" in reason for reason in reasons)
    log = LogFile(next(every_log(tmp_path)))
    end = log.peek_end()
    assert end is not None
    assert end.lost == 3
    code, found = verify(tmp_path, ULIDS[0], "--log")
    assert code == 3
    assert found[ULIDS[0]]["status"] == "INCOMPLETE"
    assert "3 records of part 0 are lost: the journal was damaged" in found[ULIDS[0]]["message"]
    assert "(leaf " in found[ULIDS[0]]["message"]
    assert "segment 1, is corrupt" in found["ledger"]["message"]


def test_one_sessions_own_verdict_tells_of_it_too(tmp_path: Path) -> None:
    """Without the whole ledger read, and after a ``known.db`` that did not know of gaps."""
    damaged(tmp_path, (1,))
    recovered(tmp_path)
    directory = ledger_directory(tmp_path)
    for known in ("as it was made", "of old"):
        glance = Glance(directory)
        assert glance.entry(ULIDS[0])
        ((_, leaf),) = glance.gaps[ULIDS[0]]
        assert "1 records of part 0 are lost" in leaf.text("reason"), known
        with closing(sqlite3.connect(directory / "known.db")) as db:
            db.executescript("DROP TABLE gaps; PRAGMA user_version = 0;")
        Ledger(directory, World().wall).close()


def test_one_lost_record_is_a_gap_too(tmp_path: Path) -> None:
    damaged(tmp_path, (2,))
    assert any("1 records of part 0" in reason for reason in recovered(tmp_path))


def test_a_torn_tail_is_none(tmp_path: Path) -> None:
    path = damaged(tmp_path, ())
    path.write_bytes(path.read_bytes()[:-3])
    assert recovered(tmp_path) == []


@pytest.mark.parametrize("how", ["edited", "another's", "gone", "a pipe", "huge"])
@pytest.mark.timeout(20)
def test_wrapped_keys_that_are_not_those_of_the_header(tmp_path: Path, how: str) -> None:
    """All else holds without them; that they are lost is said, and that nobody erased them."""
    inbox_directory(tmp_path).mkdir(parents=True)
    auditor = X25519PrivateKey.generate().public_key()
    journal = make_journal(tmp_path, World(), auditors=[auditor], originals="seal")
    for session in ULIDS[:2]:
        journal.open(header(session)).end("closed", "done")
        journal.flush()
    journal.close()
    recovered(tmp_path)
    path, other = sorted(tmp_path.rglob("*.keys"))
    assert "originals" not in verify(tmp_path, ULIDS[0])[1][ULIDS[0]]["message"]
    if how == "edited":
        path.write_bytes(path.read_bytes().replace(b'"key": "', b'"key": "AAAA'))
    elif how == "another's":
        path.write_bytes(other.read_bytes())
    elif how == "huge":
        os.truncate(path, 40 << 30)
    else:
        path.unlink()
        if how == "a pipe":
            os.mkfifo(path)
    for words in ([ULIDS[0]], ["--all"]):
        code, found = verify(tmp_path, *words)
        assert code == 0
        assert "masked originals can't be opened" in found[ULIDS[0]]["message"]
        assert len(found) == 1 or "opened" not in found[ULIDS[1]]["message"]
    if path.exists():
        path.unlink()  # whoever copies what tests leave must not meet it
