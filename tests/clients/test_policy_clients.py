"""Blocked and held, as real clients live it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq
from stack import Stack

from gateway.approvals import Approvals, ApprovalState
from gateway.commands.approvals import as_dict
from gateway.demo.issuer import DemoIssuer

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("policy")]

POLICY = """
version = 1
default = "deny"

[[rule]]
id = "usual"
on = ["sql.select", "sql.insert", "sql.update", "sql.delete", "sql.create", "sql.drop",
      "sql.transaction", "sql.set", "sql.show", "sql.prepare", "sql.execute", "sql.deallocate",
      "sql.copy_in", "sql.copy_out", "sql.declare", "sql.fetch", "sql.close", "sql.truncate",
      "sql.listen", "sql.notify"]
incomplete = true
verdict = "allow"

[[rule]]
id = "no-unbounded"
on = ["sql.update", "sql.delete"]
where = { has_where = false }
verdict = "block"
message = "{verb} without WHERE on {tables}"

[[rule]]
id = "no-thirteen"
on = "sql.insert"
where = { tables = "public.scratch" }
parameters = "^13$"
verdict = "block"
message = "thirteen is unlucky"

[[rule]]
id = "held"
on = ["sql.update", "sql.insert"]
where = { tables = "public.ledger" }
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "60s" }
message = "the ledger needs a dba"

[[rule]]
id = "soon-gone"
on = "sql.delete"
where = { tables = "public.ledger" }
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "10s" }
message = "quickly, please"

[[rule]]
id = "two-people"
on = "sql.truncate"
where = { tables = "public.ledger" }
verdict = "hold"
approve = { groups = ["dba"], count = 2, ttl = "60s" }
message = "two of you"
"""


class Gate:
    """A stack with a second issuer, of people, and its ledger."""

    def __init__(self, stack: Stack, people: DemoIssuer) -> None:
        self.stack = stack
        self.people = people

    def connect(self, **more: Any) -> Any:
        return self.stack.connect("shop", **more)

    def pending(self) -> dict[str, Any]:
        """The one approval that waits, as ``gateway approvals list --json`` says."""
        path = self.stack.state / "approvals.db"
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if path.exists():
                store = Approvals(path, time.time)
                try:
                    found = store.list(state=ApprovalState.PENDING)
                finally:
                    store.close()
                if found:
                    return as_dict(found[0])
            time.sleep(0.05)
        raise AssertionError("nothing waits")

    def decide(self, what: str, approval: str, who: str = "dana", **claims: Any) -> Any:
        claims.setdefault("groups", ["dba"])
        token = self.people.token(who, **claims)
        return self.stack.gateway(
            "approvals", what, approval, "--reason", "OPS-1",
            env=os.environ | {"WIREWARDEN_TOKEN": token},
        )  # fmt: skip

    def state(self, approval: str) -> str:
        store = Approvals(self.stack.state / "approvals.db", time.time)
        try:
            return store.get(approval).state.value
        finally:
            store.close()


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Gate:
    people = DemoIssuer(tmp_path_factory.mktemp("people"), iss="https://people.test.invalid")
    stack = gateways(policy=POLICY, extra=people_table(people))
    return Gate(stack, people)


def people_table(people: DemoIssuer) -> str:
    return (
        f'[issuer.people]\niss = "{people.iss}"\naudience = "{people.audience}"\n'
        f'algorithms = ["ES256"]\njwks = "{people.jwks}"\nkind = "person"\n'
    )


@pytest.fixture(autouse=True)
def _ledger(direct: Any) -> None:
    direct.execute("DROP TABLE IF EXISTS ledger, scratch")
    direct.execute("CREATE TABLE ledger (id int PRIMARY KEY, amount int, note text)")
    direct.execute("INSERT INTO ledger VALUES (1, 10, 'a'), (2, 20, 'b')")
    direct.execute("CREATE TABLE scratch (a int)")


def amounts(direct: Any) -> list[int]:
    return [row[0] for row in direct.execute("SELECT amount FROM ledger ORDER BY id").fetchall()]


def count(direct: Any) -> int:
    return int(direct.execute("SELECT count(*) FROM scratch").fetchone()[0])


# -- blocked -------------------------------------------------------------------


def test_a_block_is_an_error_like_any(gate: Gate) -> None:
    with gate.connect() as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as raised:
            c.execute("DELETE FROM scratch")
        diagnosis = raised.value.diag
        assert diagnosis.sqlstate == "42501"
        assert "blocked by rule no-unbounded" in str(diagnosis.message_primary)
        session = str(diagnosis.message_detail).rsplit(" ", 1)[1].rstrip(".")
        assert session in {row["session"] for row in gate.stack.sessions()}
        assert c.execute("SELECT 1").fetchone() == (1,)
    assert any(e["event"] == "refusal" for e in gate.stack.events(session))


def test_what_no_rule_permits(gate: Gate) -> None:
    with gate.connect() as c, pytest.raises(psycopg.errors.InsufficientPrivilege, match="default"):
        c.execute("VACUUM scratch")


def test_a_string_with_one_blocked_statement_runs_nothing(gate: Gate, direct: Any) -> None:
    done = gate.stack.psql(
        "-d", "shop", "-c", "INSERT INTO scratch VALUES (1); DELETE FROM scratch; SELECT 2"
    )
    assert done.returncode == 1
    assert "no-unbounded" in done.stderr
    assert done.stdout == ""
    assert count(direct) == 0


def test_blocked_in_a_transaction_aborts_it(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO scratch VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("DELETE FROM scratch")
        assert c.info.transaction_status == pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            c.execute("SELECT 1")
        assert c.execute("COMMIT").statusmessage == "ROLLBACK"
        assert c.info.transaction_status == pq.TransactionStatus.IDLE
    assert count(direct) == 0


def test_a_savepoint_survives_a_block(gate: Gate, direct: Any) -> None:
    with gate.connect() as c, c.transaction():
        c.execute("INSERT INTO scratch VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), c.transaction():
            c.execute("DELETE FROM scratch")
        c.execute("INSERT INTO scratch VALUES (2)")
    assert count(direct) == 2


def test_blocked_in_a_pipeline(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), c.pipeline():
            c.execute("INSERT INTO scratch VALUES (1)")
            c.execute("DELETE FROM scratch")
            c.execute("INSERT INTO scratch VALUES (2)")
        # One implicit transaction: what came before it is gone too.
        assert c.info.transaction_status == pq.TransactionStatus.IDLE
        assert count(direct) == 0
        with c.pipeline() as pipeline:
            c.execute("INSERT INTO scratch VALUES (3)")
            pipeline.sync()
            later = c.execute("SELECT count(*) FROM scratch")
        assert later.fetchone() == (1,)


def test_blocked_at_parse(gate: Gate) -> None:
    with gate.connect() as c:
        result = c.pgconn.prepare(b"s1", b"DELETE FROM scratch")
        assert result.status == pq.ExecStatus.FATAL_ERROR
        assert b"no-unbounded" in result.error_message
        result = c.pgconn.exec_prepared(b"s1", None)
        assert b'prepared statement "s1" does not exist' in result.error_message


def test_parameters_are_seen(gate: Gate, direct: Any) -> None:
    with gate.connect(prepare_threshold=0) as c:
        for n in (12, 14):
            c.execute("INSERT INTO scratch VALUES (%s)", (str(n),))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="thirteen"):
            c.execute("INSERT INTO scratch VALUES (%s)", ("13",))
        c.execute("INSERT INTO scratch VALUES (%s)", ("15",))
    rows = direct.execute("SELECT array_agg(a ORDER BY a) FROM scratch").fetchone()
    assert rows == ([12, 14, 15],)


def test_prepared_in_sql(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("PREPARE p AS DELETE FROM scratch")
        c.execute("PREPARE q AS INSERT INTO scratch VALUES ($1)")
        c.execute("EXECUTE q(7)")
    assert count(direct) == 1


def test_function_calls_are_blocked(gate: Gate, tmp_path: Path) -> None:
    """The old fast path, which psql uses for large objects."""
    (tmp_path / "x").write_bytes(b"x")
    done = gate.stack.psql("-d", "shop", stdin=f"\\lo_import {tmp_path / 'x'}\nSELECT 'alive';\n")
    assert "blocked by rule" in done.stderr
    assert done.stdout.endswith("alive\n")


def test_copy_is_judged(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            c.cursor().copy("COPY (DELETE FROM scratch RETURNING *) TO STDOUT") as copy,
        ):
            list(copy)
        with c.cursor().copy("COPY scratch FROM STDIN") as copy:
            copy.write("1\n")
    assert count(direct) == 1


# -- held ------------------------------------------------------------------------


class Runner(threading.Thread):
    """Runs one statement beside the test. ``value`` or ``error`` is the outcome."""

    def __init__(self, connection: Any, sql: str, parameters: Any = None, **more: Any) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.notices: list[str] = []
        connection.add_notice_handler(lambda d: self.notices.append(str(d.message_primary)))
        self._work = (sql, parameters, more)
        self.value: Any = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        sql, parameters, more = self._work
        try:
            self.value = self.connection.execute(sql, parameters, **more).statusmessage
        except Exception as error:
            self.error = error


def test_approved_and_only_then_run(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        held = Runner(c, "UPDATE ledger SET amount = 11 WHERE id = 1")
        waiting = gate.pending()
        listed = gate.stack.gateway("approvals", "list", "--json").stdout
        assert [json.loads(line)["id"] for line in listed.splitlines()] == [waiting["id"]]
        assert waiting["text"] == "UPDATE ledger SET amount = 11 WHERE id = 1"
        assert waiting["subject"] == "agent-7"
        time.sleep(0.3)
        assert amounts(direct) == [10, 20]
        done = gate.decide("approve", waiting["id"])
        assert done.returncode == 0, done.stderr
        held.join(10)
        assert (held.value, held.error) == ("UPDATE 1", None)
        assert amounts(direct) == [11, 20]
        assert any(waiting["id"] in n and "dba" in n for n in held.notices), held.notices
        # Single use: the same again waits again.
        again = Runner(c, "UPDATE ledger SET amount = 11 WHERE id = 1")
        second = gate.pending()
        assert second["id"] != waiting["id"]
        assert gate.decide("deny", second["id"]).returncode == 0
        again.join(10)
    session = waiting["session"] if "session" in waiting else gate.stack.sessions()[-1]["session"]
    events = [e["fields"] for e in gate.stack.events(session) if e["event"] == "approval"]
    said = json.dumps(events)
    assert "dana" in said
    assert "OPS-1" in said


def test_denied(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        held = Runner(c, "UPDATE ledger SET amount = 99 WHERE id = 1")
        assert gate.decide("deny", gate.pending()["id"]).returncode == 0
        held.join(10)
        assert isinstance(held.error, psycopg.errors.InsufficientPrivilege)
        assert "denied by dana: OPS-1" in str(held.error)
        assert c.execute("SELECT 1").fetchone() == (1,)
    assert amounts(direct) == [10, 20]


def test_the_requester_and_strangers_can_not_approve(gate: Gate, direct: Any) -> None:
    with gate.connect(token=gate.stack.token(groups=["dba"])) as c:
        held = Runner(c, "UPDATE ledger SET amount = 99 WHERE id = 1")
        waiting = gate.pending()["id"]
        own = gate.stack.gateway(
            "approvals", "approve", waiting,
            env=os.environ | {"WIREWARDEN_TOKEN": gate.stack.token(groups=["dba"])},
        )  # fmt: skip
        assert own.returncode == 3
        assert gate.decide("approve", waiting, "eve", groups=["interns"]).returncode == 3
        assert gate.state(waiting) == "pending"
        assert gate.decide("deny", waiting).returncode == 0
        held.join(10)
    assert amounts(direct) == [10, 20]


def test_two_people(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        held = Runner(c, "TRUNCATE ledger")
        waiting = gate.pending()["id"]
        assert "needs more people" in gate.decide("approve", waiting).stdout
        assert gate.decide("approve", waiting).returncode == 3  # dana again
        assert gate.state(waiting) == "pending"
        assert amounts(direct) == [10, 20]
        assert gate.decide("approve", waiting, "dora").returncode == 0
        held.join(10)
        assert held.value == "TRUNCATE TABLE"
    assert amounts(direct) == []


def test_expired(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        began = time.monotonic()
        held = Runner(c, "DELETE FROM ledger WHERE id = 1")
        waiting = gate.pending()["id"]
        held.join(20)
        assert 9 < time.monotonic() - began < 15
        assert isinstance(held.error, psycopg.errors.InsufficientPrivilege)
        assert "expired" in str(held.error)
        assert gate.state(waiting) == "expired"
        assert gate.decide("approve", waiting).returncode == 3
    assert amounts(direct) == [10, 20]


def test_withdrawn_by_ctrl_c(gate: Gate, direct: Any) -> None:
    process = subprocess.Popen(
        ["psql", "-X", "-A", "-t", "-d", "shop", "-c", "UPDATE ledger SET amount = 0 WHERE id = 1"],
        env=gate.stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    waiting = gate.pending()["id"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert "NOTICE:  waiting for approval " + waiting in err
    assert "canceling statement due to user request" in err
    assert gate.state(waiting) == "withdrawn"
    assert gate.decide("approve", waiting).returncode == 3
    assert amounts(direct) == [10, 20]


def test_withdrawn_by_leaving(gate: Gate, direct: Any) -> None:
    process = subprocess.Popen(
        ["psql", "-X", "-d", "shop", "-c", "UPDATE ledger SET amount = 0 WHERE id = 1"],
        env=gate.stack.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    waiting = gate.pending()["id"]
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while gate.state(waiting) == "pending":
        assert time.monotonic() < end, "it waits on for nobody"
        time.sleep(0.1)
    assert gate.state(waiting) == "withdrawn"
    assert gate.decide("approve", waiting).returncode == 3
    assert amounts(direct) == [10, 20]


def test_parameters_are_part_of_what_is_approved(gate: Gate, direct: Any) -> None:
    with gate.connect(prepare_threshold=0) as c:
        sql = "UPDATE ledger SET amount = %s, note = %s WHERE id = %s"
        held = Runner(c, sql, (77, "né", 2))
        waiting = gate.pending()
        assert "né" in waiting["parameters"]
        shown = gate.stack.gateway("approvals", "show", waiting["id"]).stdout
        assert "$3" in shown
        assert gate.decide("approve", waiting["id"]).returncode == 0
        held.join(10)
        assert held.value == "UPDATE 1"
        assert amounts(direct) == [10, 77]
        other = Runner(c, sql, (78, "né", 2))
        second = gate.pending()
        assert second["digest"] != waiting["digest"]
        assert gate.decide("deny", second["id"]).returncode == 0
        other.join(10)
    assert amounts(direct) == [10, 77]


def test_held_within_a_transaction_and_in_a_pipeline(gate: Gate, direct: Any) -> None:
    with gate.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO scratch VALUES (1)")
        held = Runner(c, "INSERT INTO ledger VALUES (3, 30)")
        assert gate.decide("approve", gate.pending()["id"]).returncode == 0
        held.join(10)
        assert c.execute("COMMIT").statusmessage == "COMMIT"
    assert (amounts(direct), count(direct)) == ([10, 20, 30], 1)

    def piped() -> None:
        with gate.connect() as d, d.pipeline():
            d.execute("INSERT INTO scratch VALUES (2)")
            d.execute("INSERT INTO ledger VALUES (4, 40)")
            d.execute("INSERT INTO scratch VALUES (3)")

    thread = threading.Thread(target=piped)
    thread.start()
    waiting = gate.pending()["id"]
    assert count(direct) == 1
    assert gate.decide("approve", waiting).returncode == 0
    thread.join(10)
    assert (amounts(direct), count(direct)) == ([10, 20, 30, 40], 3)


def test_a_restart_denies(gateways: Callable[..., Stack], direct: Any, tmp_path: Path) -> None:
    people = DemoIssuer(tmp_path / "people", iss="https://people.test.invalid")
    stack = gateways(Stack, policy=POLICY, extra=people_table(people), audited=False)
    gate = Gate(stack, people)
    with gate.connect() as c:
        held = Runner(c, "UPDATE ledger SET amount = 0 WHERE id = 1")
        waiting = gate.pending()["id"]
        assert stack.process is not None
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        held.join(10)
        assert isinstance(held.error, psycopg.OperationalError)
    stack.start()
    assert gate.state(waiting) not in ("pending", "approved")
    assert gate.decide("approve", waiting).returncode == 3
    time.sleep(0.3)
    assert amounts(direct) == [10, 20]
    stack.stop()
    # What was cut by the kill is authentic up to there, and says so.
    assert stack.recorder("verify", "--all").returncode == 3
