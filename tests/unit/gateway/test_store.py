"""The store: modes, versions, transactions, and what it says when it can't."""

import os
import stat
import threading

import pytest

from gateway.store import Store, StoreError

SCHEMA = "create table thing (name text)"


def test_files_are_private_and_durable(tmp_path):
    path = tmp_path / "state" / "a.db"
    old = os.umask(0)
    try:
        store = Store(path, SCHEMA, 1)
    finally:
        os.umask(old)
    with store.transaction() as db:
        db.execute("insert into thing values ('x')")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert store.read("pragma synchronous") == [(2,)]
    assert store.read("pragma journal_mode") == [("wal",)]
    store.close()
    os.chmod(path, 0o644)
    again = Store(path, SCHEMA, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again.read("select name from thing") == [("x",)]


def test_another_version_is_refused(tmp_path):
    Store(tmp_path / "a.db", SCHEMA, 1).close()
    with pytest.raises(StoreError, match="schema 1; this version needs 2"):
        Store(tmp_path / "a.db", SCHEMA, 2)


def test_rubbish_links_and_folders_are_refused(tmp_path):
    (tmp_path / "bad.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path / "bad.db", SCHEMA, 1)
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="not a regular file"):
        Store(tmp_path / "link.db", SCHEMA, 1)
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(StoreError):
        Store(tmp_path / "dir.db", SCHEMA, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Store(tmp_path / "file" / "a.db", SCHEMA, 1)


def test_a_failed_transaction_leaves_nothing(tmp_path):
    store = Store(tmp_path / "a.db", SCHEMA, 1)
    with pytest.raises(KeyError), store.transaction() as db:
        db.execute("insert into thing values ('x')")
        raise KeyError
    with pytest.raises(StoreError), store.transaction() as db:
        db.execute("insert into thing values ('x')")
        db.execute("insert into nothing values ('x')")
    assert store.read("select * from thing") == []
    with store.transaction() as db:
        db.execute("insert into thing values ('y')")
    assert store.read("select * from thing") == [("y",)]


def test_data_version_sees_every_commit(tmp_path):
    one, two = Store(tmp_path / "a.db", SCHEMA, 1), Store(tmp_path / "a.db", SCHEMA, 1)
    versions = [one.data_version()]
    for store in (one, two, two, one):
        with store.transaction() as db:
            db.execute("insert into thing values ('x')")
        versions.append(one.data_version())
        assert one.data_version() == versions[-1]
    assert versions == sorted(set(versions))


def test_closing_one_store_keeps_the_locks_of_another(tmp_path):
    one, two = Store(tmp_path / "a.db", SCHEMA, 1), Store(tmp_path / "a.db", SCHEMA, 1)
    with one.transaction() as db:
        db.execute("insert into thing values ('x')")
        two.close()
        pid = os.fork()
        if not pid:
            try:
                other = Store(tmp_path / "a.db", SCHEMA, 1)
                other._open.execute("pragma busy_timeout = 50")
                with other.transaction():
                    os._exit(1)
            except StoreError:
                os._exit(0)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
    assert one.read("select * from thing") == [("x",)]


def test_threads_take_turns(tmp_path):
    store = Store(tmp_path / "a.db", SCHEMA, 1)

    def work():
        for _ in range(25):
            with store.transaction() as db:
                (n,) = db.execute("select count(*) from thing").fetchone()
                db.execute("insert into thing values (?)", (str(n),))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = store.read("select name from thing")
    assert sorted(int(n) for (n,) in rows) == list(range(100))


def test_closed(tmp_path):
    store = Store(tmp_path / "a.db", SCHEMA, 1)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.read("select 1")
