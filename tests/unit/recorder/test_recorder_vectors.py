"""The format is what FORMAT.md and its vectors say, and stays so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import zstandard
from recorder_world import header, make_journal
from recording_vectors import VECTORS, described, parts, small, tiny

import recorder
from recorder import verify
from recorder.errors import MissingKeyError
from recorder.keys import key_id, load_private, load_public, new_pair
from recorder.log_reader import LogFile
from recorder.originals import Opener
from recorder.parted import log_of
from recorder.reader import decoded
from recorder.records import SEALED, StoredSpan
from recorder.scan import Damage, OpenSegment
from recorder.wrapped import opener_of


def expected(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", ["tiny", "small", "parts"])
def test_old_logs_are_read(name: str) -> None:
    log = log_of(VECTORS / f"{name}.agr")
    assert json.loads(json.dumps(described(log))) == {
        **expected(name),
        "zstd": list(zstandard.ZSTD_VERSION),
    }
    assert verify.verify(log).status == verify.OK
    with OpenSegment(VECTORS / f"{name}.agj") as segment:
        found = list(segment.records())
    assert len(found) > 2
    assert not any(isinstance(item, Damage) for item in found)


@pytest.mark.parametrize(("name", "make"), [("tiny", tiny), ("small", small)])
def test_the_writer_still_writes_the_same_bytes(tmp_path: Path, name: str, make: object) -> None:
    segment, log = make(tmp_path)  # type: ignore[operator]
    assert segment == (VECTORS / f"{name}.agj").read_bytes()
    if expected(name)["zstd"] == list(zstandard.ZSTD_VERSION) or name == "tiny":
        assert log == (VECTORS / f"{name}.agr").read_bytes()


def test_the_writer_still_cuts_the_same_parts(tmp_path: Path) -> None:
    segment, *logs = parts(tmp_path)
    assert segment == (VECTORS / "parts.agj").read_bytes()
    if expected("parts")["zstd"] == list(zstandard.ZSTD_VERSION):
        names = ("parts.agr", "parts.p0001.agr")
        assert logs == [(VECTORS / name).read_bytes() for name in names]


def test_sealed_originals_open_with_the_auditors_key_only(tmp_path: Path) -> None:
    log = LogFile(VECTORS / "sealed.agr")
    assert verify.verify(log).status == verify.OK
    private = load_private(VECTORS / "auditor.key")
    session, wrapped = log.header["session"], log.header["keys"]
    assert [item["auditor"] for item in wrapped] == [key_id(private.public_key())]
    told = described(log, Opener(session, wrapped, [private]))
    assert told["hops"] == expected("sealed")["hops"]
    assert b"D ssn 123-45-6789".hex() in told["hops"]["upstream-in"]
    assert b"123-45-6789" not in (VECTORS / "sealed.agr").read_bytes()
    other = load_private(new_pair(tmp_path)[0])
    kept = [e for r in decoded(log) for e in r.entries if isinstance(e, StoredSpan) and e.blob]
    assert [span.kept for span in kept] == [SEALED]
    for opener in (Opener(session, wrapped, [other]), Opener(session, wrapped, [])):
        with pytest.raises(MissingKeyError):
            opener.open(kept[0])
    good = Opener(session, wrapped, [private])
    for moved in (
        kept[0]._replace(arrival=kept[0].arrival + 1),
        kept[0]._replace(nonce=kept[0].nonce + 1),
        kept[0]._replace(blob=kept[0].blob[:-1] + b"\0"),
    ):
        with pytest.raises(MissingKeyError):
            good.open(moved)
    with pytest.raises(MissingKeyError):
        Opener("another", wrapped, [private])


def test_withheld_commitments_can_be_checked_by_an_auditor(tmp_path: Path) -> None:
    from recorder_world import ULIDS, play_session

    from recorder.reader import open_recording

    private, public = new_pair(tmp_path / "keys")
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        new_pair(tmp_path / "keys")
    journal = make_journal(
        tmp_path, sealer=True, auditors=[load_public(public)], originals="withhold"
    )
    play_session(journal)
    journal.close()
    log = open_recording(tmp_path, ULIDS[0])
    opener = opener_of(log, [load_private(private)])
    kept = [e for r in decoded(log) for e in r.entries if isinstance(e, StoredSpan) and e.blob]
    assert opener.matches(kept[0], b"D ssn 123-45-6789")
    assert not opener.matches(kept[0], b"D ssn 123-45-6780")
    with pytest.raises(MissingKeyError, match="withheld"):
        opener.open(kept[0])
    with pytest.raises(ValueError, match="auditor"):
        make_journal(tmp_path, worker="2").open(header(), originals="seal")


def test_the_example_in_the_format_text_is_the_tiny_vector() -> None:
    text = (Path(recorder.__file__).parent / "FORMAT.md").read_text()
    example = text.split("<!-- tiny.agr -->")[1].split("```")[1]
    raw = b""
    for line in example.splitlines():
        found = re.fullmatch(r"([0-9a-f]{4})  ((?:[0-9a-f]{2} ?){1,16}) *(?:  .*)?", line)
        if found:
            assert int(found[1], 16) == len(raw)
            raw += bytes.fromhex(found[2])
    assert raw == (VECTORS / "tiny.agr").read_bytes()
