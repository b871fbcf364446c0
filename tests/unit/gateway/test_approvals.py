"""Approvals: who may, what it binds, exactly once, whatever happens at once; the same
in a file and on PostgreSQL."""

import dataclasses
import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.approval_postgres import NAME, SharedApprovalStore
from gateway.approvals import (
    ApprovalError,
    ApprovalRequest,
    Approvals,
    ApprovalState,
)
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import StoreError
from protocols.contract import Command, Parameter, Phase

DIGEST = "d" * 64
ASKING = ApprovalRequest(
    session="01S",
    run="run-7",
    subject="agent-1",
    issuer="github",
    groups=("agents",),
    target="prod-db",
    protocol="postgres",
    digest=DIGEST,
    text="update t set a = $1",
    parameters=(Parameter(b"\x00\xff", "binary", "bytea"), Parameter(None)),
    needs=(ApprovalNeed("writes", ("dba", "sre"), 1, 60.0, "writes wait"),),
    rules=("writes",),
    reason="writes wait",
    policy="p" * 64,
    actors=("carol",),
)


def person(subject="alice", *groups, **more):
    return Principal(subject, "corp", groups=frozenset(groups or ("dba",)), **more)


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def opened(place, clock, instance=""):
    """``place``: a path or a URL."""
    if isinstance(place, Path):
        return Approvals(place, clock, instance)
    return Approvals(SharedApprovalStore(place, clock, grace=0.0), instance=instance)


def emptied(server):
    """The URL of a database that holds no approvals."""
    with psycopg.connect(server.dsn("shop"), autocommit=True) as db:
        db.execute("set client_min_messages = error")
        db.execute(f"drop schema if exists {NAME} cascade")
    return server.dsn("shop")


@pytest.fixture(params=["file", "postgres"])
def place(request, tmp_path):
    if request.param == "file":
        return tmp_path / "approvals.db"
    return emptied(request.getfixturevalue("pg"))


@pytest.fixture
def approvals(place, clock):
    made = opened(place, clock, "I1")
    yield made
    made.close()


def asking(**changes):
    return dataclasses.replace(ASKING, **changes)


def test_life_of_an_approval(approvals, clock):
    made = approvals.request(ASKING)
    assert (made.id, made.state, made.digest) == ("AP-1", ApprovalState.PENDING, DIGEST)
    assert made.request == ASKING
    assert (made.created, made.expires, made.instance) == (clock.now, clock.now + 60, "I1")
    assert not approvals.consume("AP-1", DIGEST)
    said = approvals.decide("AP-1", person(), True, "looked at it")
    assert said.state is ApprovalState.APPROVED
    assert [(d.subject, d.issuer, d.approve, d.reason) for d in said.decisions] == [
        ("alice", "corp", True, "looked at it")
    ]
    assert approvals.consume("AP-1", DIGEST)
    assert not approvals.consume("AP-1", DIGEST)
    assert approvals.get("AP-1").state is ApprovalState.CONSUMED
    assert approvals.request(ASKING).id == "AP-2"


def test_request_survives_odd_text(approvals):
    odd = asking(text="select '\udcff\0\u202e'", subject="a\nb", groups=("x\ny",))
    assert approvals.request(odd).request == odd


# -- who may decide (row 78) ----------------------------------------------


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (Principal("agent-1", "github", groups=frozenset({"dba"})), "own request"),
        (Principal("agent-1", "corp", groups=frozenset({"dba"})), "own request"),
        (person("carol", "dba"), "own request"),
        (person("x", "dba", claims={"preferred_username": "carol"}), "own request"),
        (person("x", "dba", run="run-7"), "the run that asks"),
        (person("x", "dba", kind="agent"), "only a person"),
        (person("x", "dba", kind="ci"), "only a person"),
        (person("x", "dba", expires=999_999.0), "has expired"),
        (person("x", "devs"), "members of dba, sre"),
        (Principal("x", "corp"), "members of dba, sre"),
    ],
)
@pytest.mark.parametrize("approve", [True, False])
def test_may_not_decide(approvals, who, why, approve):
    approvals.request(ASKING)
    with pytest.raises(ApprovalError, match=why):
        approvals.decide("AP-1", who, approve, "")
    approval = approvals.get("AP-1")
    assert approval.state is ApprovalState.PENDING
    assert approval.decisions == ()


def test_an_empty_run_is_no_shared_run(approvals):
    approvals.request(asking(run=""))
    assert approvals.decide("AP-1", person(run=""), True, "").state is ApprovalState.APPROVED


def test_count_wants_distinct_people(approvals):
    approvals.request(asking(needs=(ApprovalNeed("r", ("dba",), 2),)))
    assert approvals.decide("AP-1", person("a"), True, "").state is ApprovalState.PENDING
    with pytest.raises(ApprovalError, match="already"):
        approvals.decide("AP-1", person("a"), True, "")
    assert not approvals.consume("AP-1", DIGEST)
    assert approvals.decide("AP-1", person("b"), True, "").state is ApprovalState.APPROVED


def test_all_needs_must_be_met(approvals):
    needs = (ApprovalNeed("r1", ("dba",), 2), ApprovalNeed("r2", ("sec",), 1))
    approvals.request(asking(needs=needs))
    assert approvals.decide("AP-1", person("a", "dba"), True, "").state is ApprovalState.PENDING
    # In both groups: counts once for each need.
    assert (
        approvals.decide("AP-1", person("b", "dba", "sec"), True, "").state
        is ApprovalState.APPROVED
    )


def test_a_single_deny_ends_it(approvals):
    approvals.request(asking(needs=(ApprovalNeed("r", ("dba",), 2),)))
    approvals.decide("AP-1", person("a"), True, "")
    denied = approvals.decide("AP-1", person("b"), False, "too risky")
    assert (denied.state, denied.why) == (ApprovalState.DENIED, "too risky")
    with pytest.raises(ApprovalError, match="denied already"):
        approvals.decide("AP-1", person("c"), True, "")
    assert not approvals.consume("AP-1", DIGEST)


def test_nobody_to_ask_is_refused(approvals):
    for needs in ((), (ApprovalNeed("r", ()),), (ApprovalNeed("r", ("dba",), 0),)):
        with pytest.raises(ApprovalError):
            approvals.request(asking(needs=needs))
    with pytest.raises(ApprovalError, match="too much"):
        approvals.request(asking(text="x" * (9 << 20)))
    for id in ("AP-9", "AP-0", "1", "AP-1\n", "AP-" + "9" * 40):
        with pytest.raises(ApprovalError):
            approvals.get(id)


@pytest.mark.parametrize("bad", ["a\0b", "a\udcffb"])
def test_names_that_can_not_be_kept_are_refused(approvals, bad):
    for changes in ({"subject": bad}, {"run": bad}, {"reason": bad}):
        with pytest.raises(ApprovalError, match="can't be kept"):
            approvals.request(asking(**changes))
    approvals.request(ASKING)
    with pytest.raises(ApprovalError, match="can't be kept"):
        approvals.decide("AP-1", person(bad), True, "")
    said = approvals.decide("AP-1", person(), True, bad)
    assert said.decisions[0].reason in ("a\\0b", "a\\udcffb")
    assert approvals.withdraw("AP-1", bad)


def test_one_name_counts_once_whoever_attests_it(approvals):
    """Gateways that share a store may call an issuer differently."""
    approvals.request(asking(needs=(ApprovalNeed("r", ("dba",), 2),)))
    approvals.decide("AP-1", Principal("alice", "corp", groups=frozenset({"dba"})), True, "")
    with pytest.raises(ApprovalError, match="already"):
        approvals.decide("AP-1", Principal("Alice", "other", groups=frozenset({"dba"})), True, "")
    assert approvals.get("AP-1").state is ApprovalState.PENDING


# -- late, twice, ended (row 77) -------------------------------------------


def test_expiry(approvals, clock):
    approvals.request(ASKING)
    approvals.request(ASKING)
    approvals.decide("AP-2", person(), True, "")
    clock.now += 60
    assert approvals.get("AP-1").state is ApprovalState.EXPIRED
    with pytest.raises(ApprovalError, match="expired"):
        approvals.decide("AP-1", person(), True, "")
    assert not approvals.consume("AP-2", DIGEST)
    assert [a.id for a in approvals.list(ApprovalState.EXPIRED)] == ["AP-2", "AP-1"]
    assert approvals.list(ApprovalState.PENDING) == []
    assert approvals.expire_due() == 2
    assert approvals.expire_due() == 0
    clock.now -= 60  # a clock that is set back revives nothing
    assert approvals.get("AP-1").state is ApprovalState.EXPIRED
    assert not approvals.consume("AP-2", DIGEST)


def test_the_shortest_need_sets_the_time(approvals, clock):
    needs = (ApprovalNeed("a", ("dba",), 1, 900.0), ApprovalNeed("b", ("dba",), 1, 30.0))
    assert approvals.request(asking(needs=needs)).expires == clock.now + 30


def test_withdraw(approvals):
    approvals.request(ASKING)
    approvals.request(ASKING)
    approvals.decide("AP-2", person(), True, "")
    assert approvals.withdraw("AP-1", "Ctrl-C")
    assert not approvals.withdraw("AP-1", "Ctrl-C")
    assert approvals.withdraw("AP-2", "client gone")
    assert not approvals.consume("AP-2", DIGEST)
    with pytest.raises(ApprovalError, match="withdrawn already \\(Ctrl-C\\)"):
        approvals.decide("AP-1", person(), True, "")


def test_list(approvals):
    approvals.request(ASKING)
    approvals.request(asking(target="other"))
    approvals.request(ASKING)
    approvals.decide("AP-1", person(), False, "")
    assert [a.id for a in approvals.list()] == ["AP-3", "AP-2", "AP-1"]
    assert [a.id for a in approvals.list(target="prod-db", state=ApprovalState.PENDING)] == ["AP-3"]
    assert [a.id for a in approvals.list(ApprovalState.DENIED)] == ["AP-1"]
    assert [a.id for a in approvals.list(limit=1)] == ["AP-3"]


# -- approve A, run B (row 76) --------------------------------------------

COMMAND = Command(
    1,
    Phase.RUN,
    "update t set a = $1 where b = $2",
    (),
    (Parameter(b"1", "text", "int4"), Parameter(None, "binary", "")),
    ("portal", "execute"),
)
AROUND = ("prod-db", "github", "agent-1", "run-7", "policy-1")


def mutations():
    yield dataclasses.replace(COMMAND, text=COMMAND.text + " ")
    yield dataclasses.replace(COMMAND, text=COMMAND.text[:-1])
    yield dataclasses.replace(COMMAND, parameters=())
    yield dataclasses.replace(COMMAND, parameters=COMMAND.parameters[::-1])
    yield dataclasses.replace(COMMAND, parameters=(*COMMAND.parameters, Parameter(None)))
    for at, p in enumerate(COMMAND.parameters):
        for other in (
            dataclasses.replace(p, value=(p.value or b"") + b"0"),
            dataclasses.replace(p, value=None if p.value else b""),
            dataclasses.replace(p, form="binary" if p.form == "text" else "text"),
            dataclasses.replace(p, type="int8"),
        ):
            changed = list(COMMAND.parameters)
            changed[at] = other
            yield dataclasses.replace(COMMAND, parameters=tuple(changed))
    yield dataclasses.replace(COMMAND, context=("portal",))
    yield dataclasses.replace(COMMAND, context=("portalexecute", ""))


def test_every_mutation_fails_and_the_original_still_runs(approvals):
    approvals.request(asking(digest=COMMAND.digest(*AROUND)))
    approvals.decide("AP-1", person(), True, "")
    for other in mutations():
        assert not approvals.consume("AP-1", other.digest(*AROUND)), other
    for at in range(len(AROUND)):
        around = list(AROUND)
        around[at] += "x"
        assert not approvals.consume("AP-1", COMMAND.digest(*around))
    assert approvals.consume("AP-1", COMMAND.digest(*AROUND))


commands = st.builds(
    Command,
    st.just(1),
    st.just(Phase.RUN),
    st.text(max_size=6),
    st.just(()),
    st.lists(
        st.builds(
            Parameter,
            st.none() | st.binary(max_size=3),
            st.sampled_from(["text", "binary"]),
            st.sampled_from(["", "int4"]),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(commands, commands, st.lists(st.text(max_size=3), max_size=2))
def test_only_the_same_command_is_consumed(approvals, one, two, around):
    made = approvals.request(asking(digest=one.digest(*around)))
    approvals.decide(made.id, person(), True, "")
    assert approvals.consume(made.id, two.digest(*around)) is (one == two)
    if one != two:
        assert approvals.consume(made.id, one.digest(*around))


# -- at once, and across processes (row 77) -----------------------------------


def in_threads(*calls):
    gate = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(at):
        gate.wait()
        try:
            results[at] = calls[at]()
        except ApprovalError as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_opposite_answers_at_once_have_one_outcome(place, clock, approvals):
    other = opened(place, clock)
    for _ in range(20):
        made = approvals.request(ASKING)
        results = in_threads(
            lambda made=made: approvals.decide(made.id, person("a"), True, "yes"),
            lambda made=made: other.decide(made.id, person("b"), False, "no"),
        )
        assert sum(isinstance(r, ApprovalError) for r in results) == 1
        ended = approvals.get(made.id)
        assert ended.state in (ApprovalState.APPROVED, ApprovalState.DENIED)
        assert len(ended.decisions) == 1
        assert ended.decisions[0].approve is (ended.state is ApprovalState.APPROVED)
    other.close()


def test_consume_races_have_one_winner(place, clock, approvals):
    other = opened(place, clock)
    for _ in range(20):
        made = approvals.request(ASKING)
        approvals.decide(made.id, person(), True, "")
        calls = [lambda made=made, a=a: a.consume(made.id, DIGEST) for a in (approvals, other) * 2]
        calls.append(lambda made=made: not other.withdraw(made.id, "gone"))
        results = in_threads(*calls)
        used, kept = sum(results[:-1]), results[-1]
        assert used == (1 if kept else 0)
    other.close()


def _compete(path, start, results):
    approvals = opened(path, lambda: 1_000_000.0)
    start.wait()
    won = sum(approvals.consume(f"AP-{n}", DIGEST) for n in range(1, 31))
    results.put(won)


def test_processes_consume_each_approval_once(place, approvals):
    for _ in range(30):
        approvals.decide(approvals.request(ASKING).id, person(), True, "")
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=_compete, args=(place, start, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    wins = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(wins) == 30


def soon(true):
    """Within a second."""
    end = time.monotonic() + 1
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_decision_elsewhere_is_noticed(place, clock, approvals):
    approvals.request(ASKING)
    seen = approvals.data_version()
    assert approvals.data_version() == seen
    other = opened(place, clock)
    assert approvals.pending() == {"AP-1"}
    assert other.pending() == set()  # another's are its own to wait for
    other.decide("AP-1", person(), True, "")
    assert approvals.pending() == set()
    soon(lambda: approvals.data_version() != seen)
    assert approvals.get("AP-1").state is ApprovalState.APPROVED
    other.close()


# -- restarts ---------------------------------------------------------------


def _ask_and_die(path, asked):
    approvals = opened(path, lambda: 1_000_000.0, "DOOMED")
    approvals.request(ASKING)
    approved = approvals.request(ASKING)
    approvals.decide(approved.id, person(), True, "")
    asked.set()
    time.sleep(60)


def test_a_killed_gateway_is_denied_at_the_next_start(place, clock):
    context = multiprocessing.get_context("spawn")
    asked = context.Event()
    doomed = context.Process(target=_ask_and_die, args=(place, asked))
    doomed.start()
    assert asked.wait(60)
    live = opened(place, clock, "LIVE")
    assert live.get("AP-1").state is ApprovalState.PENDING, "its asker lives"
    doomed.kill()
    doomed.join()
    nxt = opened(place, clock, "NEXT")
    # A server hears from a closed connection, in its own time.
    soon(lambda: nxt.lapse_dead() or nxt.get("AP-1").state is not ApprovalState.PENDING)
    denied = nxt.get("AP-1")
    assert (denied.state, denied.why) == (ApprovalState.DENIED, "gateway restarted")
    assert nxt.get("AP-2").state is ApprovalState.WITHDRAWN
    assert not nxt.consume("AP-2", DIGEST)
    mine = live.request(ASKING)
    assert nxt.lapse_dead() == 0
    assert nxt.get(mine.id).state is ApprovalState.PENDING
    live.close()
    assert nxt.get(mine.id).why == "the gateway stopped"
    nxt.close()
    if isinstance(place, Path):
        assert os.listdir(place.with_name("approvals.db.alive")) == []


def test_a_connection_that_broke_is_not_a_death(pg, clock):
    """A gateway that lost its database makes a new connection; only one that does not is gone."""
    url = emptied(pg)
    stores = [SharedApprovalStore(url, clock, grace=0.5) for _ in range(2)]
    one, two = (Approvals(store, instance=f"I{n}") for n, store in enumerate(stores))
    asked = one.request(ASKING)
    lost = stores[0]._db.info.backend_pid
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("select pg_terminate_backend(%s, 5000)", [lost])
    assert two.lapse_dead() == 0, "it may come back"
    # Polling finds out: first it hears the server's last words, then that it is gone.
    soon(lambda: one.data_version() and stores[0]._db.info.backend_pid != lost)
    time.sleep(0.6)
    assert two.lapse_dead() == 0, "it came back"
    assert two.get(asked.id).state is ApprovalState.PENDING
    stores[0].close()
    soon(lambda: two.lapse_dead() == 0 and "I0" in stores[1]._missed)
    time.sleep(0.6)
    assert two.lapse_dead() == 1
    assert one._instance == "I0"
    assert two.get(asked.id).state is ApprovalState.DENIED
    two.close()


def test_a_database_that_is_not_there(clock):
    """It fails in time, and says nothing of the password."""
    for url in ("postgresql://me:hush@127.0.0.1:1/none", "postgresql://me:hush@[/x"):
        approvals = Approvals(SharedApprovalStore(url, clock), instance="I1")
        for call in (lambda a=approvals: a.request(ASKING), approvals.data_version,
                     approvals.lapse_dead, approvals.list):  # fmt: skip
            began = time.monotonic()
            with pytest.raises(StoreError) as caught:
                call()
            assert time.monotonic() - began < 2
            assert "hush" not in str(caught.value)
        with pytest.raises(StoreError):
            approvals.close()


def test_instance_ids_are_file_names(place, clock):
    for bad in ("../x", "a/b", "a" * 65, ".", ".."):
        with pytest.raises(ValueError):
            opened(place, clock, bad)


# -- the record -------------------------------------------------------------


def test_what_was_decided_is_never_rewritten(place, approvals):
    approvals.request(ASKING)
    approvals.decide("AP-1", person(), True, "yes")
    local = isinstance(place, Path)
    db = sqlite3.connect(place) if local else psycopg.connect(place)
    if not local:
        db.execute(f"set search_path to {NAME}")
        db.commit()
    for sql in (
        "update decision set approve = 0",
        "delete from decision",
        "update step set why = 'x'",
        "delete from step",
        "delete from approval",
        "update approval set digest = 'x'",
        "update approval set text = 'x'",
        "update approval set expires = expires + 1",
        "update approval set state = 'pending'",
        "update approval set state = 'denied'",
        *(() if local else ("truncate decision", "truncate step", "truncate approval cascade")),
    ):
        with pytest.raises(sqlite3.IntegrityError if local else psycopg.errors.IntegrityError):
            db.execute(sql)
        db.rollback()
    assert db.execute("select state from step order by number").fetchall() == [
        ("pending",),
        ("approved",),
    ]
    db.close()


def test_one_instance_lives_once(place, clock, approvals):
    with pytest.raises(StoreError):
        opened(place, clock, "I1")
