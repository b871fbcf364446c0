"""One worker process: its services, its one trio.run, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from gateway.approval_store import approval_store
from gateway.approvals import Approvals
from gateway.cancels import Cancels
from gateway.config import Config
from gateway.held import held_secrets
from gateway.holds import Holds
from gateway.identity.authority import Authority
from gateway.listener import Doorman
from gateway.listening import Listener
from gateway.mask_key import mask_key
from gateway.notary import Notary
from gateway.policy.errors import PolicyErrors
from gateway.policy.own import own_screen
from gateway.policy_file import load_policy
from gateway.quarantine.places import sweep
from gateway.reactor import Reactor
from gateway.services import Services
from gateway.spool import Depot
from gateway.store import StoreError
from gateway.targets import load_targets
from gateway.throttle import Throttle
from gateway.world import World
from protocols.contract import Refuse
from recorder.errors import RecorderError
from recorder.journal import Journal
from recorder.keys import load_public

DRAIN_SECONDS = 30.0
LAST_SECONDS = 2.0
"""For last words, after a second signal."""
SECRET_THREADS = 16
FOLLOW_SECONDS = 1.0
NEVER = 1e9
RECORDER_SECONDS = 2.0
MEMORY_SECONDS = 60.0
"""How long what protocols remember of a target (its catalog) is believed."""


class WorkerLost(Exception):
    """A worker can't go on; why was told."""


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker stands: its number, and the sockets it was given, in the
    order of the configuration's listeners."""

    number: int
    sockets: tuple[socket.socket, ...]
    debug: bool = False
    supervisor: int = 0
    """Its process id; 0 for a worker that is on its own."""


def open_journal(config: Config, post: Post, world: World) -> Journal:
    """This worker's journal; recovers what a crash left. RecorderError."""
    recording = config.recording
    return Journal(
        config.state,
        worker=str(post.number),
        gateway=world.instance,
        clock=world.mono_ns,
        wall=world.wall_ns,
        chance=world.chance,
        originals="seal" if recording.originals == "seal" else "withhold",
        credentials="seal" if recording.credentials == "seal" else "withhold",
        auditors=[load_public(path) for path in recording.auditors],
        low=recording.low_water,
        critical=recording.critical,
        part_size=recording.part_size,
        part_seconds=recording.part_time or NEVER,
    )


@asynccontextmanager
async def services(config: Config, post: Post) -> AsyncIterator[Services]:
    """Everything that sessions share, opened and closed in order."""
    world = World()
    policy = load_policy(config)
    targets = load_targets(config)
    listeners = tuple(Listener.from_config(item) for item in config.listeners)
    secrets = held_secrets(config)
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    approvals = Approvals(approval_store(config, world.wall), instance=world.instance)

    def new_journal() -> Journal:
        return open_journal(config, post, world)

    notary = Notary(config.evidence, config.state, world)
    notary.policy(policy.version)
    journal = new_journal()
    own = own_screen(secrets)
    reactor = Reactor(journal.flush, journal.sync, journal, own)
    journal.recall = reactor.recall
    authority = Authority(config, world)
    made = Services(
        config=config,
        world=world,
        journal=journal,
        authority=authority,
        approvals=approvals,
        policy=policy,
        targets=targets,
        listeners=listeners,
        reactor=reactor,
        own=own,
        mask_key=mask_key(config.state),
        debug=post.debug,
    )
    made.new_journal = new_journal
    made.notary = notary
    notary.alarm = made.alarm
    made.holds = Holds(approvals)
    made.cancels = Cancels(world, config.state / "run", post.number)
    made.throttle = Throttle(world, config.limits.failed_proofs)
    made.depot = Depot(config.state / "spool", config.limits.spool)
    made.apart = config.state / "quarantine" / str(post.number)
    sweep(made.apart)  # what this worker's predecessor left
    made.secret_threads = trio.CapacityLimiter(SECRET_THREADS)
    try:
        yield made
    finally:
        reactor.close()
        for close in (made.journal.close, made.notary.close, approvals.close):
            try:
                close()
            except (RecorderError, StoreError) as error:
                made.alarm("shutdown", str(error))


async def work(
    config: Config, post: Post, started: Callable[[Services], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. SIGHUP reads the policy anew.
    Raises WorkerLost, in a group, when nobody could be served any more."""
    async with services(config, post) as made, trio.open_nursery() as background:
        background.start_soon(made.reactor.run)
        background.start_soon(_hear_cancels, made)
        background.start_soon(made.holds.watch, made.alarm)
        background.start_soon(_forget, made)
        background.start_soon(_guard_recorder, made)
        background.start_soon(_keep_evidence, made)
        if any(listener.kind.carrier == "ssh" for listener in made.listeners):
            from gateway.island import Island  # 20 MB that others don't need

            made.island = Island(made.alarm)
            await background.start(_speak_ssh, made)
        if post.supervisor:
            background.start_soon(_follow, made, post.supervisor)
        doorman = Doorman(made)
        accepting = trio.CancelScope()
        async with trio.open_nursery() as sessions:
            sessions.start_soon(_signals, made, accepting, sessions)
            sessions.start_soon(_open_doors, made, doorman, post, accepting, sessions)
            started(made)
        background.cancel_scope.cancel()


async def _open_doors(
    made: Services,
    doorman: Doorman,
    post: Post,
    accepting: trio.CancelScope,
    sessions: trio.Nursery,
) -> None:
    with accepting:
        async with trio.open_nursery() as nursery:
            for sock, listener in zip(post.sockets, made.listeners, strict=True):
                nursery.start_soon(doorman.serve, sock, listener, sessions)
    for sock in post.sockets:
        sock.close()


async def _signals(made: Services, accepting: trio.CancelScope, sessions: trio.Nursery) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        async for number in received:
            if number == signal.SIGHUP:
                reload_policy(made)
                continue
            if accepting.cancel_called:
                await _cut(made, LAST_SECONDS)
                sessions.cancel_scope.cancel()
                return
            accepting.cancel()
            sessions.start_soon(_drain, made, sessions)


async def _drain(made: Services, sessions: trio.Nursery) -> None:
    """Let work end: sessions at rest leave now, the others when they come to
    rest, and what is left after DRAIN_SECONDS is cut."""
    with trio.move_on_after(DRAIN_SECONDS):
        while made.sessions:
            for session in list(made.sessions.values()):
                session.leave(Refuse("the gateway is shutting down", kind="shutdown"))
            await trio.sleep(0.1)
    await _cut(made, 5.0)
    sessions.cancel_scope.cancel()


async def _cut(made: Services, seconds: float) -> None:
    """End every session now, in its own words; wait ``seconds`` for them."""
    for session in list(made.sessions.values()):
        session.dismiss(Refuse("the gateway is shutting down", kind="shutdown"))
    with trio.move_on_after(seconds):
        while made.sessions:
            await trio.sleep(0.05)


async def _speak_ssh(
    made: Services, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Without it every session is lost, and none can begin: better a new worker."""
    assert made.island is not None
    try:
        await made.island.run(task_status=task_status)
    except RuntimeError as error:
        made.alarm("ssh", f"{error}: this worker ends")
        raise WorkerLost from None


async def _hear_cancels(made: Services) -> None:
    """Without a socket only the cancels that land on other workers are lost."""
    try:
        await made.cancels.listen()
    except OSError as error:
        made.alarm("cancels", f"those that land on other workers are lost: {error}")


async def _follow(made: Services, supervisor: int) -> None:
    """Drain when the supervisor is gone: nobody would stop this worker any more,
    and it would keep the listeners from the next gateway."""
    while os.getppid() == supervisor:
        await trio.sleep(FOLLOW_SECONDS)
    made.alarm("worker", "the supervisor is gone")
    os.kill(os.getpid(), signal.SIGTERM)


async def _forget(made: Services) -> None:
    """What protocols remember of targets goes stale behind our back."""
    while True:
        await trio.sleep(MEMORY_SECONDS)
        for memory in made.memory.values():
            memory.clear()


async def _guard_recorder(made: Services) -> None:
    """End sessions before the disk is full, and begin a new journal when a
    failed one could be written again. While it fails nobody is served."""
    told = 0
    while True:
        await trio.sleep(RECORDER_SECONDS)
        journal = made.journal
        for fault in journal.faults[told:]:
            made.alarm("recorder", fault)
        told = len(journal.faults)
        if journal.failed:
            # Idle ones have not noticed yet, and would keep the journal from
            # being taken up again.
            for session in list(made.sessions.values()):
                session.fail(RecorderError(journal.failed))
            if made.sessions or journal.state() != "ok":
                continue
            try:
                journal.close()
            except RecorderError:
                pass  # it said why when it failed
            try:
                made.journal = made.new_journal()
            except RecorderError as error:
                made.alarm("recorder", f"still can't record: {error}")
                continue
            told = 0
            journal = made.journal
            journal.recall = made.reactor.recall
            made.reactor.record_with(journal.flush, journal.sync, journal)
            made.alarm("recorder", "records again")
        elif journal.state() == "critical":
            made.alarm("recorder", "the disk is nearly full: sessions end")
            for session in list(made.sessions.values()):
                session.dismiss(Refuse("the recorder is out of space", kind="recorder"))
        else:
            with contextlib.suppress(RecorderError):
                journal.relieve()  # a failure is seen above, the next time


async def _keep_evidence(made: Services) -> None:
    """Sessions end for want of evidence only where it is required."""

    def refuse() -> None:
        for session in list(made.sessions.values()):
            session.dismiss(Refuse("the gateway can't keep evidence", kind="recorder"))

    await made.notary.run(lambda: made.journal, refuse)


def reload_policy(made: Services) -> None:
    """New sessions get the policy that the file holds now; a broken file
    changes nothing and raises an alarm. Open sessions keep theirs."""
    try:
        policy = load_policy(made.config)
    except (PolicyErrors, OSError, UnicodeDecodeError) as error:
        made.alarm("policy", f"not reloaded, version {made.policy.version[:12]} stays: {error}")
        return
    except Exception as error:
        # Sessions must not end for it, whatever is in the file.
        made.crash("policy", error)
        return
    made.alarm("policy", f"version {made.policy.version[:12]} -> {policy.version[:12]}")
    made.policy = policy
    made.notary.policy(policy.version)
