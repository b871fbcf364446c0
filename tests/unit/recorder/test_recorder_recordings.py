"""Copies in an object store: created once, read back, found by other gateways."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent / "index"))

from index_world import WALL, fresh, session_id, write
from test_index import run, some

from gateway.demo.postgres import Server
from recorder.index import answer
from recorder.index.wanted import Wanted
from recorder.prune import Pruning
from recorder.recordings import PROBE, URL, Recordings, RecordingsError, recordings_store
from recorder.retention import Retention

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("obstore")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An empty bucket of moto's server; the environment names it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto_server.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    httpx.post(f"{url}/moto-api/reset")  # what it holds is its process's
    for key, value in (
        ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", url), (URL, "s3://audit/logs"),
    ):  # fmt: skip
        monkeypatch.setenv(key, value)
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="audit")
    yield client
    server.stop()


def keys(client: object) -> list[str]:
    found = client.list_objects_v2(Bucket="audit")  # type: ignore[attr-defined]
    every = [each["Key"] for each in found.get("Contents", [])]
    return [key for key in every if key != f"logs/{PROBE}"]


def test_copied_once_and_compared(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, bucket: object
) -> None:
    write(tmp_path, [some(day=n % 2) for n in range(3)])
    assert run(capfd, tmp_path, "upload")[:2][0] == 0
    home = answer.home_of(tmp_path)
    logs = sorted(tmp_path.glob("sessions/*/*/*/*.agr"))
    assert keys(bucket) == [f"logs/{home}/{path.relative_to(tmp_path)}" for path in logs]
    for path in logs:
        key = f"logs/{home}/{path.relative_to(tmp_path)}"
        held = bucket.get_object(Bucket="audit", Key=key)["Body"].read()  # type: ignore[attr-defined]
        assert held == path.read_bytes()
    assert "copied 0 Logs" in run(capfd, tmp_path, "upload")[1]
    # Something else under the same name is never written over, and told.
    other = path.read_bytes()[:-1]
    bucket.put_object(Bucket="audit", Key=key, Body=other)  # type: ignore[attr-defined]
    code, _, err = run(capfd, tmp_path, "upload")
    assert code == 1
    assert "something else" in err
    assert bucket.get_object(Bucket="audit", Key=key)["Body"].read() == other  # type: ignore[attr-defined]


def test_a_store_that_writes_over_is_refused(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    bucket: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path, [some()])
    honest = Recordings._create

    def forgetful(self: Recordings, key: str, data: bytes) -> bool:
        if not honest(self, key, data):
            bucket.put_object(Bucket="audit", Key=f"logs/{key}", Body=data)  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(Recordings, "_create", forgetful)
    code, _, err = run(capfd, tmp_path, "upload")
    assert code == 1
    assert "written over" in err
    assert keys(bucket) == []


def test_what_does_not_verify_is_not_copied(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, bucket: object
) -> None:
    write(tmp_path, [some(), some(ms=1)])
    path = sorted(tmp_path.glob("sessions/*/*/*/*.agr"))[0]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    code, out, err = run(capfd, tmp_path, "upload")
    assert code == 4
    assert path.name in err
    assert "copied 1 Logs" in out


def test_another_gateways_session_is_shown(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, bucket: object, pg: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(answer.URL, pg.dsn("shop"))
    fresh()
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write(one, [some(commands=[("select 41 + 1", 0, "reads", None)])])
    assert run(capfd, one, "upload")[0] == 0
    assert session_id(0) in run(capfd, two, "list")[1]
    for words in (["show"], ["events"], ["cat", "--leg", "client", "--side", "in"]):
        here = run(capfd, one, words[0], session_id(0), *words[1:])
        there = run(capfd, two, words[0], session_id(0), *words[1:])
        assert there[0] == here[0] == 0
        assert (
            there[1].replace("/tmp", "").splitlines()[:15]
            == here[1].replace("/tmp", "").splitlines()[:15]
        )
    assert "select 41 + 1" in run(capfd, two, "show", session_id(0))[1]
    monkeypatch.delenv(URL)
    code, _, err = run(capfd, two, "show", session_id(0))
    assert code == 1
    assert "another gateway" in err
    fresh()


def test_prune_deletes_the_copy_too(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, bucket: object
) -> None:
    write(tmp_path, [some(), some(ms=1)])
    for path in tmp_path.glob("journal/*/*.agj"):
        path.unlink()
    run(capfd, tmp_path, "upload")
    run(capfd, tmp_path, "hold", "add", session_id(1), "--reason", "case")
    later = datetime.fromtimestamp(WALL / 1e9, UTC) + timedelta(days=9)
    state = Pruning(
        tmp_path, Retention(), "ann", delete_after=timedelta(days=1), now=later,
        copies=recordings_store(),
    )  # fmt: skip
    lines = answer.Answer(tmp_path, Wanted(), print).lines()
    chosen = [choice for choice in state.choices(lines) if choice.delete]
    assert [state.delete(choice) for choice in chosen] == [""]
    assert [key.split("/")[-1] for key in keys(bucket)] == [f"{session_id(1)}.agr"]


@pytest.mark.parametrize("url", ["s3://", "file:///tmp", "s3:/x"])
def test_what_is_no_store(url: str) -> None:
    with pytest.raises(RecordingsError):
        Recordings(url)


def test_a_store_that_is_not_there(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(URL, "s3://audit")
    assert run(capfd, tmp_path, "upload")[0] == 1
    monkeypatch.delenv(URL)
    assert run(capfd, tmp_path, "upload")[0] == 2
