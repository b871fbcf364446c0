"""Copies in an object store: created once, read back, found by other gateways; the local ones
may go. The same on moto and (``make deep``) on Ceph's radosgw."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "index"))

from index_world import WALL, fresh, session_id, write
from radosgw import Radosgw
from s3_world import CUT, PASS, STRIP, SWALLOW, Crooked, crooked, moto
from test_index import run, some
from test_recorder_parts import NAME, recorded

from gateway.demo.postgres import NoServer, Server
from recorder.away import SUFFIX, away_of, note_of
from recorder.index import answer
from recorder.index.wanted import Wanted
from recorder.prune import Pruning
from recorder.recordings import (
    PROBE,
    URL,
    Recordings,
    RecordingsError,
    recordings_at,
    recordings_store,
)
from recorder.retention import Retention
from recorder.state import keys_path
from recorder.uploading import CACHE

boto3 = pytest.importorskip("boto3")
pytest.importorskip("obstore")
_names = itertools.count()


@dataclass
class Bucket:
    """An empty bucket; the environment names it. ``between`` stands before the store."""

    name: str
    client: Any
    between: Crooked
    server: Radosgw | None

    @property
    def url(self) -> str:
        return f"s3://{self.name}/logs"

    def listed(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name)
        every = [each["Key"] for each in found.get("Contents", [])]
        return [key for key in every if key != f"logs/{PROBE}"]

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)


@pytest.fixture(scope="module", params=["moto", pytest.param("radosgw", marks=pytest.mark.deep)])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Radosgw | None]]:
    """The URL of a server."""
    if request.param == "moto":
        yield from ((url, None) for url in moto())
        return
    try:
        server = Radosgw(tmp_path_factory.mktemp("radosgw")).start()
    except NoServer as error:
        pytest.skip(f"radosgw: {error}")
    yield server.url, server
    server.stop()


@pytest.fixture
def bucket(served: tuple[str, Radosgw | None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    url, server = served
    name = f"audit-{next(_names)}"
    with crooked(url) as between:
        for key, value in (
            ("AWS_ACCESS_KEY_ID", Radosgw.key), ("AWS_SECRET_ACCESS_KEY", Radosgw.secret),
            ("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", between.url), (URL, f"s3://{name}/logs"),
        ):  # fmt: skip
            monkeypatch.setenv(key, value)
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket=name)
        yield Bucket(name, client, between, server)


def logs_of(state: Path) -> list[Path]:
    return sorted(state.glob("sessions/*/*/*/*.agr"))


def no_journal(state: Path) -> None:
    for path in state.glob("journal/*/*.agj"):
        path.unlink()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command of the recorder on ``tmp_path``."""
    return lambda *words: run(capfd, tmp_path, *words)


def kept_here(said: tuple[int, str, str]) -> tuple[int, str, str]:
    """What would be said of Logs that are here."""
    lines = [line for line in said[1].splitlines(True) if not line.startswith("away ")]
    return said[0], "".join(lines), said[2]


# -- copies -------------------------------------------------------------------


def test_copied_once_and_compared(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    write(tmp_path, [some(day=n % 2) for n in range(3)])
    assert here("upload")[0] == 0
    home = answer.home_of(tmp_path)
    logs = logs_of(tmp_path)
    assert bucket.listed() == [f"logs/{home}/{path.relative_to(tmp_path)}" for path in logs]
    for path in logs:
        key = f"logs/{home}/{path.relative_to(tmp_path)}"
        assert bucket.get(key) == path.read_bytes()
    assert "copied 0 files" in here("upload")[1]
    # Something else under the same name is never written over, and told; the rest goes on.
    other = path.read_bytes()[:-1]
    bucket.put(key, other)
    write(tmp_path, [some()], first=50)
    (tmp_path / CACHE).unlink(missing_ok=True)
    code, out, err = here("upload")
    assert code == 4
    assert "something else" in err
    assert "copied 1 files" in out
    assert bucket.get(key) == other


def test_days_that_were_copied_whole_are_not_looked_at_again(
    here: Run, tmp_path: Path, bucket: Bucket
) -> None:
    write(tmp_path, [some(day=n) for n in range(3)])
    here("upload")
    for folder in tmp_path.glob("sessions/*/*/*"):
        os.utime(folder, (1_700_000_000, 1_700_000_000))
    here("upload")
    bucket.between.asked.clear()
    here("upload")
    assert [method for method, _ in bucket.between.asked] == ["PUT", "PUT", "GET"]  # the probe
    write(tmp_path, [some(day=1)], first=50)
    assert "copied 1 files" in here("upload")[1]
    (tmp_path / CACHE).write_text("[]")
    assert "copied 0 files" in here("upload")[1]


def test_what_arrives_while_its_day_is_copied_is_not_forgotten(
    here: Run, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [some()])
    (folder,) = tmp_path.glob("sessions/*/*/*")
    times = (time.time() - 1.5,) * 2
    os.utime(folder, times)  # young still: a change may not show in it
    upload = Recordings.upload

    def slow(self: Recordings, path: Path, key: str) -> bool:
        if not (folder / "late.keys").exists():
            (folder / "late.keys").write_text("{}")
            os.utime(folder, times)
            time.sleep(0.6)
        return upload(self, path, key)

    monkeypatch.setattr(Recordings, "upload", slow)
    here("upload")
    here("upload")
    assert any(key.endswith("/late.keys") for key in bucket.listed())


def test_a_store_that_writes_over_is_refused(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    if bucket.server is not None:
        pytest.skip("the condition is signed: radosgw would refuse a request without it")
    write(tmp_path, [some()])
    bucket.between.judge = lambda method, path: STRIP
    for _ in range(2):
        code, _, err = here("upload")
        assert code == 1
        assert "written over" in err
        assert bucket.listed() == []


def test_a_store_whose_versions_defeat_the_condition_is_refused(
    here: Run, tmp_path: Path, bucket: Bucket
) -> None:
    """radosgw 16.2 makes a second version of an object in a bucket with object lock."""
    name = f"{bucket.name}-locked"
    bucket.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    write(tmp_path, [some()])
    os.environ[URL] = f"s3://{name}/logs"
    code, out, err = here("upload")
    if bucket.server is not None:
        assert code == 1
        assert "written over" in err
    else:
        assert (code, err) == (0, "")
        assert "copied 1 files" in out


def test_what_does_not_verify_is_not_copied(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    write(tmp_path, [some(), some(ms=1)])
    path = logs_of(tmp_path)[0]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    code, out, err = here("upload")
    assert code == 4
    assert path.name in err
    assert "copied 1 files" in out


def test_two_uploaders_at_once(tmp_path: Path, bucket: Bucket) -> None:
    """Of the same Logs, in two copies of a state directory: as after a move that went wrong."""
    write(tmp_path / "one", [some(day=n % 2) for n in range(8)])
    answer.home_of(tmp_path / "one")
    subprocess.run(["cp", "-a", tmp_path / "one", tmp_path / "two"], check=True)
    words = [sys.executable, "-m", "recorder.cli", "upload", "--dir"]
    at_work = [
        subprocess.Popen([*words, tmp_path / name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two", "one")
    ]
    said = [each.communicate(timeout=60)[0] for each in at_work]
    assert [each.returncode for each in at_work] == [0, 0, 0]
    copied = [int(text.split()[1]) for text in said]
    assert sum(copied) == 8
    assert len(bucket.listed()) == 8


def test_as_a_service(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    """Round after round, also behind one that failed."""
    write(tmp_path, [some()])
    bucket.between.judge = lambda method, path: (403, "AccessDenied")
    words = ("upload", "--every", "1", "--dir", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", *words], stdout=subprocess.PIPE, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            assert "copied 0 files" in serving.stdout.readline()
            bucket.between.judge = lambda method, path: PASS
            while "copied 1 files" not in serving.stdout.readline():
                assert serving.poll() is None
        finally:
            serving.terminate()
    assert len(bucket.listed()) == 1


# -- stores and networks that fail ----------------------------------------------


def failing(method: str, what: Any, times: int, part: str = "sessions") -> Callable[..., Any]:
    """The first ``times`` such requests of Logs come to ``what``."""
    left = [times]

    def judge(asked: str, path: str) -> Any:
        if asked == method and part in path and left[0] > 0:
            left[0] -= 1
            return what
        return PASS

    return judge


@pytest.mark.parametrize(
    ("method", "what"),
    [("PUT", (503, "SlowDown")), ("GET", (503, "SlowDown")), ("PUT", CUT), ("PUT", SWALLOW),
     ("GET", SWALLOW), ("PUT", (500, "InternalError"))],
)  # fmt: skip
def test_what_fails_for_a_moment_is_tried_again(
    here: Run, tmp_path: Path, bucket: Bucket, method: str, what: Any
) -> None:
    """Also a creation whose answer was lost: the second try hears that it is there."""
    write(tmp_path, [some(), some(ms=1)])
    bucket.between.judge = failing(method, what, 2)
    for _ in range(2):  # obstore does not repeat everything by itself
        code, _, err = here("upload")
        if code == 0:
            break
        assert err
    assert code == 0
    assert len(bucket.listed()) == 2
    for path in logs_of(tmp_path):
        key = f"logs/{answer.home_of(tmp_path)}/{path.relative_to(tmp_path)}"
        assert bucket.get(key) == path.read_bytes()


def test_a_store_that_is_slow_down_for_good(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    write(tmp_path, [some()])
    bucket.between.judge = failing("PUT", (503, "SlowDown"), 10**6)
    code, _, err = here("upload", "--free", "--keep-local", "1h")
    assert code == 1
    assert "503" in err or "SlowDown" in err or "retries" in err
    assert len(logs_of(tmp_path)) == 1


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied"])
def test_clocks_that_differ_are_told(here: Run, tmp_path: Path, bucket: Bucket, code: str) -> None:
    write(tmp_path, [some()])
    bucket.between.judge = lambda method, path: (403, code)
    done, _, err = here("upload")
    assert done == 1
    assert ("clocks" in err) is (code == "RequestTimeTooSkewed")


def test_the_store_dies_in_the_middle(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    """Killed while Logs come in: nothing local goes, and the next run ends what was begun."""
    write(tmp_path, [some(day=n % 2) for n in range(12)])
    no_journal(tmp_path)
    seen = [0]

    def judge(method: str, path: str) -> Any:
        if method == "PUT" and "sessions" in path:
            seen[0] += 1
            if seen[0] == 5 and bucket.server is not None:
                bucket.server.kill()
            if seen[0] >= 5 and bucket.server is None:
                return CUT
        return PASS

    bucket.between.judge = judge
    code, out, err = here("upload", "--free", "--keep-local", "1h")
    assert (code, bool(err)) == (1, True)
    assert "copied 4 files" in out
    assert len(logs_of(tmp_path)) == 12
    bucket.between.judge = lambda method, path: PASS
    if bucket.server is not None:
        bucket.server.serve()
    code, out, _ = here("upload", "--free", "--keep-local", "1h")
    assert code == 0
    assert "copied 8 files" in out
    assert "freed 12 sessions" in out
    assert logs_of(tmp_path) == []
    assert here("verify", "--all")[0] == 0


# -- local copies go --------------------------------------------------------------


def freed(here: Run, state: Path, sessions: list[dict[str, Any]]) -> None:
    """All of these sessions are only in the store."""
    write(state, sessions)
    no_journal(state)
    here("list")
    code, out, err = here("upload", "--free", "--keep-local", "1h")
    assert (code, err) == (0, "")
    assert f"freed {len(sessions)} sessions" in out
    assert logs_of(state) == []
    assert len([*state.glob(f"sessions/*/*/*/*.agr{SUFFIX}")]) == len(sessions)


def test_a_freed_session_is_read_from_the_store(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    sessions = [some(day=n % 2, commands=[(f"select {n}", 0, "reads", None)]) for n in range(3)]
    write(tmp_path, sessions)
    no_journal(tmp_path)
    asked = [
        ("list", "--json"), ("list", "--json", "--no-index"), ("show", session_id(1)),
        ("events", session_id(1)), ("play", session_id(1)), ("grep", "--json", "select"),
        ("cat", session_id(1), "--leg", "client", "--side", "in"),
        ("grep", "--json", "--no-index", "select"), ("verify", session_id(2)),
        ("verify", "--all"), ("show", str(logs_of(tmp_path)[0])),
        ("show", session_id(2)),
    ]  # fmt: skip
    before = [here(*words) for words in asked]
    assert here("upload", "--free", "--keep-local", "1h")[0] == 0
    assert logs_of(tmp_path) == []
    bucket.between.asked.clear()
    indexed = {words[0] for words in asked[:1] + asked[5:6]}
    for words, said in zip(asked, before, strict=True):
        assert kept_here(told := here(*words)) == said, words
        if words[0] == "show":
            assert f"kept in {bucket.url} as " in told[1]
        if words[0] in indexed and "--no-index" not in words:
            assert bucket.between.asked == [], "an index needs no store"
        bucket.between.asked.clear()
    # Built anew, the index has the same in it.
    assert here("reindex")[0] == 0
    assert here(*asked[0]) == before[0]
    assert here(*asked[5]) == before[5]


def test_only_what_is_old_enough_goes(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    write(tmp_path, [some(target="db"), some(ms=1, target="cache"), some(ms=2, env="dev")])
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[retention]\nkeep_local = "900000h"\n'
        '[[retention.rule]]\ntarget = "cache"\nkeep_local = "1h"\n'
        '[[retention.rule]]\ntag = "env=dev"\n'
    )
    words = ("upload", "--free", "--config", str(config))
    assert "freed 0 sessions" in here(*words)[1], "a journal still has them"
    no_journal(tmp_path)
    assert "freed 1 sessions" in here(*words)[1]
    assert [path.stem for path in logs_of(tmp_path)] == [session_id(0), session_id(2)]
    assert "freed 0 sessions" in here(*words)[1]
    config.write_text("[retention]\n")
    assert here(*words)[0] == 2
    assert here("upload", "--free")[0] == 2


@pytest.mark.parametrize("harm", ["other", "gone"])
def test_nothing_goes_that_the_store_does_not_hold(
    here: Run, tmp_path: Path, bucket: Bucket, harm: str
) -> None:
    write(tmp_path, [some(), some(ms=1)])
    no_journal(tmp_path)
    here("upload")
    for folder in tmp_path.glob("sessions/*/*/*"):
        os.utime(folder, (1_700_000_000, 1_700_000_000))
    here("upload")
    path = logs_of(tmp_path)[0]
    key = f"logs/{answer.home_of(tmp_path)}/{path.relative_to(tmp_path)}"
    if harm == "other":
        raw = bytearray(path.read_bytes())
        raw[-40] ^= 1
        bucket.put(key, bytes(raw))
    else:
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    code, out, err = here("upload", "--free", "--keep-local", "1h")
    assert code == 4
    assert "the local copy stays" in err
    assert "freed 1 sessions" in out
    assert logs_of(tmp_path) == [path]
    assert not note_of(path).exists()


def test_a_crash_between_note_and_deletion(
    here: Run, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [some()])
    no_journal(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("recorder.uploading.away_of", _dies)
        assert here("upload", "--free", "--keep-local", "1h")[0] == 1
    (path,) = logs_of(tmp_path)
    assert away_of(path) is not None
    assert len(here("list", "--json")[1].splitlines()) == 1
    assert "freed 1 sessions" in here("upload", "--free", "--keep-local", "1h")[1]
    assert len(here("list", "--json")[1].splitlines()) == 1


def _dies(*_: object, **__: object) -> None:
    raise OSError("the power is gone")


def test_a_store_that_gives_something_else_is_found_out(
    here: Run, tmp_path: Path, bucket: Bucket
) -> None:
    freed(here, tmp_path, [some(), some(ms=1)])
    first, second = bucket.listed()
    bucket.put(first, bucket.get(second))
    code, out, _ = here("verify", session_id(0))
    assert code == 4
    assert "TAMPERED" in out
    assert here("verify", session_id(1))[0] == 0
    assert here("show", session_id(0))[0] == 4
    bucket.client.delete_object(Bucket=bucket.name, Key=second)
    code, _, err = here("show", session_id(1))
    assert code == 1
    assert f"is in {bucket.url}" in err
    code, out, err = here("verify", "--all")
    assert code == 4
    assert "TAMPERED" in out
    assert session_id(1) in err
    bucket.between.judge = lambda method, path: CUT
    code, _, err = here("cat", session_id(0), "--leg", "client", "--side", "in")
    assert code == 1
    assert len(here("list", "--json")[1].splitlines()) == 2, "the index needs no store"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema":"wirewarden.away/1","store":4}', "\0" * 200, "[" * 100_000]
)
def test_a_note_that_can_not_be_read_is_told(
    here: Run, tmp_path: Path, bucket: Bucket, text: str
) -> None:
    freed(here, tmp_path, [some()])
    (note,) = tmp_path.glob(f"sessions/*/*/*/*{SUFFIX}")
    note.write_text(text)
    code, _, err = here("show", session_id(0))
    assert code == 1
    assert "can't be read" in err


def test_a_session_in_parts_goes_and_is_read_whole(
    here: Run, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path)
    asked = [("show", NAME), ("verify", NAME), ("grep", "--json", "select 2"),
             ("cat", NAME, "--leg", "upstream", "--side", "in"), ("list", "--json")]  # fmt: skip
    before = [here(*words) for words in asked]
    count = len(logs_of(tmp_path))
    assert count > 2
    code, out, err = here("upload", "--free", "--keep-local", "1h")
    assert (code, err) == (0, "")
    assert "freed 1 sessions" in out
    assert logs_of(tmp_path) == []
    assert len(bucket.listed()) == count
    after = [here(*words) for words in asked]
    assert list(map(kept_here, after)) == before
    assert f" and {count - 1} more of its files: freed " in after[0][1]
    # One part is missing in the store: what is before it can be read, and all is told.
    lost = bucket.listed()[2]
    kept = bucket.get(lost)
    bucket.client.delete_object(Bucket=bucket.name, Key=lost)
    assert here("verify", NAME)[0] == 1
    bucket.put(lost, kept)
    assert pruned(tmp_path) == [""]
    assert bucket.listed() == []
    assert not [*tmp_path.glob("sessions/*/*/*/*")]


# -- deletion -----------------------------------------------------------------------


def pruned(state: Path) -> list[str]:
    later = datetime.fromtimestamp(WALL / 1e9, UTC) + timedelta(days=9)
    pruning = Pruning(
        state, Retention(), "ann", delete_after=timedelta(days=1), now=later,
        copies=recordings_store(),
    )  # fmt: skip
    lines = answer.Answer(state, Wanted(), print).lines()
    return [pruning.delete(c) if c.delete else c.why for c in pruning.choices(lines)]


@pytest.mark.parametrize("only_there", [False, True])
def test_prune_deletes_the_copy_too(
    here: Run, tmp_path: Path, bucket: Bucket, only_there: bool
) -> None:
    write(tmp_path, [some(), some(ms=1)])
    no_journal(tmp_path)
    here("upload", *(("--free", "--keep-local", "1h") if only_there else ()))
    here("hold", "add", session_id(1), "--reason", "case")
    said = pruned(tmp_path)
    assert said[0] == ""
    assert "case" in said[1]
    assert [key.split("/")[-1] for key in bucket.listed()] == [f"{session_id(1)}.agr"]
    assert len(here("list", "--json")[1].splitlines()) == 1
    assert len(here("list", "--json", "--deleted")[1].splitlines()) == 1
    assert here("upload")[0] == 0
    assert len(bucket.listed()) == 1, "what was deleted is not put back"


def test_prune_deletes_what_is_away_where_its_store_is_configured(
    here: Run, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed(here, tmp_path, [some()])
    with monkeypatch.context() as patch:
        patch.delenv(URL)
        (why,) = pruned(tmp_path)
        assert "not the store that is configured" in why
    assert bucket.listed()
    assert pruned(tmp_path) == [""]
    assert bucket.listed() == []
    assert not [*tmp_path.glob("sessions/*/*/*/*")]


LOCKED = (
    '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Error><Key>{key}</Key>'
    "<Code>AccessDenied</Code><Message>protected by object lock</Message></Error></DeleteResult>"
)


@pytest.mark.parametrize("status", [403, 200])
def test_what_a_lock_of_the_store_holds_is_told(
    here: Run, tmp_path: Path, bucket: Bucket, status: int
) -> None:
    """Also where the answer to a deletion of many says it of one."""
    freed(here, tmp_path, [some()])
    (key,) = bucket.listed()
    said = "AccessDenied" if status == 403 else LOCKED.format(key=key)
    asked = itertools.count(0)

    def judge(method: str, path: str) -> Any:
        # The first is about keys.
        return (status, said) if "delete" in path and next(asked) else PASS

    bucket.between.judge = judge
    with pytest.raises(RecordingsError, match="does not let it be deleted"):
        pruned(tmp_path)
    assert len(here("list", "--json")[1].splitlines()) == 1
    bucket.between.judge = lambda method, path: PASS
    assert pruned(tmp_path) == [""]
    assert here("list", "--json")[1] == ""


def test_an_answer_that_no_store_should_give(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    """obstore panics where an error is of another key than was asked about."""
    freed(here, tmp_path, [some()])
    bucket.between.judge = failing("POST", (200, LOCKED.format(key="x")), 1, "delete")
    with pytest.raises(RecordingsError):
        pruned(tmp_path)


def test_a_store_out_of_reach_deletes_nothing(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    freed(here, tmp_path, [some()])
    bucket.between.judge = lambda method, path: CUT
    (why,) = pruned(tmp_path)
    assert "can't be looked at" in why
    assert len(here("list", "--json")[1].splitlines()) == 1


def test_an_upload_and_a_deletion_take_turns(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    """A Log that is deleted while it is on its way is not left in the store."""
    write(tmp_path, [some()])
    no_journal(tmp_path)
    gone: list[list[str]] = []
    deleting = threading.Thread(target=lambda: gone.append(pruned(tmp_path)))

    def judge(method: str, path: str) -> Any:
        if method == "PUT" and "sessions" in path and not deleting.ident:
            deleting.start()
            deleting.join(0.5)
            assert deleting.is_alive(), "it must wait"
        return PASS

    bucket.between.judge = judge
    here("upload")
    deleting.join(20)
    assert gone == [[""]]
    assert bucket.listed() == []


# -- wrapped keys -----------------------------------------------------------------------


def test_keys_go_along_and_are_deleted_along(here: Run, tmp_path: Path, bucket: Bucket) -> None:
    """They stay here, too. Some that are gone here without a word may be in the store alone."""
    write(tmp_path, [some(), some(ms=1)])
    no_journal(tmp_path)
    for path in logs_of(tmp_path):
        keys_path(path).write_text("{}")
    first = keys_path(logs_of(tmp_path)[0])
    here("upload", "--free", "--keep-local", "1h")
    assert len(bucket.listed()) == 4
    assert first.exists()
    first.unlink()
    here("upload")
    assert len(bucket.listed()) == 4
    assert pruned(tmp_path) == ["", ""]
    assert bucket.listed() == []
    assert not [*tmp_path.glob("sessions/*/*/*/*")]


# -- other gateways ---------------------------------------------------------------------


def test_another_gateways_session_is_shown(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, bucket: Bucket, pg: Server,
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
    code, out, err = run(capfd, two, "verify", session_id(0))
    assert (code, err) == (0, "")
    assert "OK-UNANCHORED" in out
    # What its own gateway has freed is still found by the other.
    no_journal(one)
    assert "freed 1" in run(capfd, one, "upload", "--free", "--keep-local", "1h")[1]
    assert run(capfd, two, "show", session_id(0))[0] == 0
    assert len(run(capfd, two, "list", "--json")[1].splitlines()) == 1
    monkeypatch.delenv(URL)
    code, _, err = run(capfd, two, "show", session_id(0))
    assert code == 1
    assert "another gateway" in err
    fresh()


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
    assert recordings_at("s3://audit") is recordings_at("s3://audit")


def test_no_note_sends_an_auditor_elsewhere(
    here: Run, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed(here, tmp_path, [some(), some(ms=1)])
    notes = [*tmp_path.glob(f"sessions/*/*/*/*.agr{SUFFIX}")]
    told = json.loads(notes[0].read_text())
    good = json.dumps(told)
    session = notes[0].name.split(".")[0]
    for changed, why in (
        ({"store": "s3://elsewhere/logs"}, "not the store that is configured"),
        ({"key": json.loads(notes[1].read_text())["key"]}, "it names another Log"),
        ({"size": told["size"] - 1}, "something else than was put there"),
    ):
        notes[0].write_text(json.dumps({**told, **changed}))
        code, _, err = here("show", session)
        assert (code != 0, why in err) == (True, True), err
    notes[0].write_text(good)
    assert here("show", session)[0] == 0
    monkeypatch.delenv(URL)
    code, _, err = here("show", session)
    assert code == 1
    assert f"set {URL} to it" in err
