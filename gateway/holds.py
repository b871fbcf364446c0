"""Holds: a command waits for people, visibly, and can be withdrawn.

The wait is the session's own; what is approved is the digest of everything that
will run. Approvals live in a store that other processes write to (the command
line, other workers, other gateways), so one task asks it for changes while
anything waits here. Where the store fails, so does every wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import trio

from gateway.approval_text import inert
from gateway.approvals import (
    Approval,
    ApprovalError,
    ApprovalRequest,
    Approvals,
    ApprovalState,
)
from gateway.policy.verdicts import Decision
from gateway.store import StoreError
from protocols.contract import Answer, Command, Refuse

if TYPE_CHECKING:
    from gateway.relay import Relay

POLL_SECONDS = 0.05
"""Between two looks at the store's version, which cost it microseconds."""
NOTICE_SECONDS = 15.0
EXPIRE_SECONDS = 1.0
BURY_SECONDS = 10.0
T = TypeVar("T")
ACTORS = ("actor", "triggering_actor", "user_login", "preferred_username", "email")
"""Claims that name the person behind a run: not an approver of its commands."""


@dataclass(slots=True)
class Waiting:
    """One command that waits. ``changed`` is set when its approval may have
    moved on, ``withdrawn`` when the client no longer wants it."""

    relay: Relay
    command: Command
    approval: str
    changed: trio.Event = field(default_factory=trio.Event)
    withdrawn: bool = False


class Holds:
    """All that waits in this worker."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        self._waiting: dict[str, Waiting] = {}
        self._mine: Counter[tuple[str, str]] = Counter()
        self._some = trio.Event()
        self._unwanted: dict[str, str] = {}
        self._due = 0.0
        # Calls of the store take turns anyway; a store that hangs stops only holds.
        self._threads = trio.CapacityLimiter(4)

    async def wait(self, relay: Relay, command: Command, decision: Decision) -> Answer:
        """The answer to a held command."""
        assert relay.principal is not None
        assert relay.target is not None
        rules = ", ".join(decision.rules)
        whose = (relay.principal.issuer, relay.principal.subject)
        most = relay.services.config.limits.approvals
        if most and self._mine[whose] >= most:
            reason = f"{most} commands of {relay.principal.subject} wait for approval already"
            return Refuse(reason, rule=decision.rules[0], kind="policy")
        digest = command.digest(
            relay.target.name,
            relay.principal.issuer,
            relay.principal.subject,
            relay.principal.run,
            relay.policy.version,
        )
        request = ApprovalRequest(
            session=relay.session.id,
            run=relay.principal.run,
            subject=relay.principal.subject,
            issuer=relay.principal.issuer,
            groups=tuple(sorted(relay.principal.groups)),
            target=relay.target.name,
            protocol=relay.target.kind.name,
            digest=digest,
            text=command.text,
            parameters=command.parameters,
            needs=decision.needs,
            rules=decision.rules,
            reason=decision.reason,
            policy=relay.policy.version,
            actors=tuple(
                relay.principal.claims[claim] for claim in ACTORS if claim in relay.principal.claims
            ),
        )
        self._mine[whose] += 1
        try:
            approval = await self._in_thread(self._approvals.request, request)
            waiting = Waiting(relay, command, approval.id)
            self._waiting[approval.id] = waiting
            waiting.changed.set()  # look once now: it may have been decided already
            self._some.set()
            try:
                self._record(relay, approval)
                return await self._until_decided(waiting, approval, decision, digest, rules)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._withdraw(approval.id, "the session ended")
                raise
            finally:
                del self._waiting[approval.id]
        except ApprovalError as error:
            return Refuse(str(error), rule=decision.rules[0], kind="policy")
        except StoreError as error:
            # No store, no approval: the command does not run.
            relay.services.alarm("approvals", str(error))
            reason = "approvals can't be asked for now"
            return Refuse(reason, rule=decision.rules[0], kind="policy")
        finally:
            self._mine[whose] -= 1
            if not self._mine[whose]:
                del self._mine[whose]

    async def _until_decided(
        self, waiting: Waiting, approval: Approval, decision: Decision, digest: str, rules: str
    ) -> Answer:
        relay, rule = waiting.relay, decision.rules[0]
        assert relay.target is not None
        began = trio.current_time()
        pause = relay.target.kind.keepalive or NOTICE_SECONDS
        due = began
        while True:
            now = trio.current_time()
            text = _notice(approval, decision, now - began) if now >= due else ""
            if text:
                due = now + NOTICE_SECONDS - pause / 2
            relay.session.conversation.say(waiting.command.number, text)
            relay.session.resume()
            with trio.move_on_after(pause) as scope:
                while True:
                    await waiting.changed.wait()
                    waiting.changed = trio.Event()
                    if waiting.withdrawn:
                        await self._withdraw(approval.id, "withdrawn by the client")
                        return Refuse("withdrawn by the client", rule=rule, kind="withdrawn")
                    approval = await self._in_thread(self._approvals.get, approval.id)
                    if approval.state is not ApprovalState.PENDING:
                        break
            if scope.cancelled_caught:
                # The time may have run out between a change and the look at it.
                waiting.changed.set()
            if approval.state is ApprovalState.PENDING:
                continue
            if approval.state is ApprovalState.APPROVED:
                drift = relay.drifted(waiting.command, decision)
                if drift:
                    await self._withdraw(approval.id, drift)
                    return Refuse(f"approval {approval.id} came too late: {drift}", rule=rule)
                used = await self._in_thread(self._approvals.consume, approval.id, digest)
                approval = await self._in_thread(self._approvals.get, approval.id)
                self._record(relay, approval)
                if used:
                    return relay.allowed(waiting.command, decision)
                reason = f"approval {approval.id} is {approval.state.value}"
                return Refuse(reason, rule=rule)
            self._record(relay, approval)
            return Refuse(_outcome(approval, rules), rule=rule)

    def _record(self, relay: Relay, approval: Approval) -> None:
        relay.session.log.event(
            "approval",
            {
                "id": approval.id,
                "state": approval.state.value,
                "digest": approval.digest,
                "approvers": [
                    {
                        "subject": d.subject,
                        "issuer": d.issuer,
                        "approve": d.approve,
                        "reason": d.reason,
                    }
                    for d in approval.decisions
                ],
            },
        )

    async def _withdraw(self, approval: str, why: str) -> None:
        try:
            await self._in_thread(self._approvals.withdraw, approval, why)
        except ApprovalError:
            pass  # It ended, and nobody is left to use it.
        except StoreError:
            self._unwanted[approval] = why  # people are told once the store is back

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(call, *arguments, limiter=self._threads)

    # -- from outside -----------------------------------------------------

    def withdraw(self, session: str) -> bool:
        """The client asked to cancel: withdraw what its session waits for.
        True when something did."""
        found = False
        for waiting in self._waiting.values():
            if waiting.relay.session.id == session:
                waiting.withdrawn = found = True
                waiting.changed.set()
        return found

    async def watch(self, alarm: Callable[[str, str], None]) -> None:
        """Look for decisions while anything waits, and now and then for what
        workers that died still ask for, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bury, alarm)
            while True:
                await self._some.wait()
                self._some = trio.Event()
                version = -1
                while self._waiting:
                    version = await self._look(version, alarm)
                    await trio.sleep(POLL_SECONDS)

    async def _look(self, version: int, alarm: Callable[[str, str], None]) -> int:
        try:
            if trio.current_time() >= self._due:
                await self._in_thread(self._approvals.expire_due)
                self._due = trio.current_time() + EXPIRE_SECONDS
            current = await self._in_thread(self._approvals.data_version)
            if current == version:
                return current
            # Asked once for all: of a thousand that wait, one decision wakes one.
            pending = await self._in_thread(self._approvals.pending)
        except StoreError as error:
            alarm("approvals", str(error))
            await trio.sleep(1)
            # Without a store each finds out by itself, and its command is refused.
            current, pending = -1, set()
        for approval, waiting in self._waiting.items():
            if approval not in pending:
                waiting.changed.set()
        return current

    async def _bury(self, alarm: Callable[[str, str], None]) -> None:
        while True:
            try:
                await self._in_thread(self._approvals.lapse_dead)
                for approval, why in list(self._unwanted.items()):
                    del self._unwanted[approval]
                    await self._withdraw(approval, why)
            except (StoreError, OSError) as error:
                alarm("approvals", str(error))
            await trio.sleep(BURY_SECONDS)


def _notice(approval: Approval, decision: Decision, waited: float) -> str:
    # One approval counts for every rule that its giver may approve for.
    needs = dict.fromkeys((need.count, need.groups) for need in decision.needs)
    who = " and ".join(f"{count} of {', '.join(groups) or 'anyone'}" for count, groups in needs)
    since = f", {waited:.0f} s so far" if waited >= 1 else ""
    return f"waiting for approval {approval.id} from {who} ({decision.reason}){since}"


def _outcome(approval: Approval, rules: str) -> str:
    last = approval.decisions[-1] if approval.decisions else None
    if approval.state is ApprovalState.DENIED and last is not None:
        said = f": {inert(last.reason)}" if last.reason else ""
        return f"approval {approval.id} was denied by {inert(last.subject)}{said}"
    return f"approval {approval.id} is {approval.state.value} ({rules})"
