"""Row 95: what is hashed are the stored bytes, with lengths and a domain: another encoding
of the same values is another Log, and says so.

Goes red when verify hashes what it decoded, or when a leaf can be read in two ways.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit import wait_sealed
from stack import Stack
from wire import enter

from gateway.demo.postgres import Server
from recorder import framing, records, verify
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import Judge, Trust
from recorder.evidence.leaves import LeafError, unpack_leaf
from recorder.evidence.watch import Watch
from recorder.log_reader import LogFile
from recorder.log_writer import LogWriter
from recorder.reader import every_log


@pytest.fixture(scope="module")
def state(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Stack(tmp_path_factory.mktemp("gateway"), pg) as stack:
        with enter(stack) as wire:
            wire.ask("SELECT 1")
        wait_sealed(stack)
        stack.stop()
        return stack.state


def test_another_encoding_of_the_same_values(state: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(state, tmp_path / "state")
    path = next(iter(every_log(copy)))
    log = LogFile(path)
    items = list(log.stored())
    assert log.end is not None
    # The header's map in another order: equal for whoever decodes, not for who hashes.
    body = records.unpack(log.header_body)
    body[4] = dict(reversed(body[4].items()))
    again = records.packer().pack(body)
    assert again != log.header_body
    assert records.unpack(again)[4] == log.header
    out = tmp_path / "again.agr"
    writer = LogWriter(out, log.header["session"], again)
    for item in items:
        writer.add(item.kind, item.body)
    end = log.end
    writer.finish([body[0], end.seq, end.at, end.status, end.reason, list(end.counts), end.summary])
    assert verify.verify_file(out).status == verify.OK, "good in itself"
    shutil.copy(out, path)
    verdict = Judge(copy, Trust()).judge(path)
    assert verdict.status == verify.TAMPERED
    assert verdict.offset == framing.FILE_HEADER
    assert "header" in verdict.message


def test_leaves_can_be_read_in_one_way_only(state: Path) -> None:
    watch = Watch(ledger_directory(state))
    for raw in watch.tiles.entries():
        unpack_leaf(raw)
        for other in (raw + b"\0", raw[:-1], raw[1:], b"\0" + raw):
            with pytest.raises(LeafError):
                unpack_leaf(other)
