"""The relay answers what a conversation asks: who, where, with what, may it, who sees it.

``now`` answers a question at once, in the straight gear, or returns None;
``later`` takes its time. Every decision is put on record before its answer is
given, so that it stands in the journal before the bytes that it gates.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import trio

from gateway.carriers import reached
from gateway.dial import DialError
from gateway.errands import run_errand
from gateway.identity.errors import Refused
from gateway.listening import Listener
from gateway.policy.judge import judge
from gateway.policy.masks import build
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Decision, Verdict
from gateway.secrets.references import Secret
from gateway.secrets.sensitive import Sensitive
from gateway.services import Services
from gateway.store import StoreError
from gateway.targets import Target, TargetRefused
from gateway.throttle import guessable
from protocols.contract import (
    Allow,
    Answer,
    Cancel,
    Challenge,
    Column,
    Command,
    Credential,
    Destination,
    Destined,
    Done,
    Errand,
    Examine,
    Mask,
    Offer,
    Parameter,
    Part,
    Phase,
    Plan,
    Proof,
    Proven,
    Question,
    Refuse,
    Result,
    Upgrade,
)
from protocols.wire import Side

if TYPE_CHECKING:
    from gateway.quarantine.quarantine import Quarantine
    from gateway.session import Session

_Planned: TypeAlias = "tuple[Decision, Plan | Refuse, list[list[str]]]"
TELL_SECONDS = 4.0
"""Between two words to a client that waits for an errand."""
CACHE = 1024
"""Verdicts remembered per session. A client that varies its text gains nothing
but a decision each time."""
_ALLOW = Allow()
_ALLOW_MASKED = Allow(masked=True)


class Relay:
    """Answers for one session."""

    def __init__(self, services: Services, listener: Listener, session: Session) -> None:
        self.services = services
        self.listener = listener
        self.session = session
        self.policy = services.policy
        self.principal: Principal | None = None
        self.target: Target | None = None
        self.holding = 0
        self._key: bytes | None = None
        self._quarantine: Quarantine | None = None
        self._unproven = False
        """SCRAM is on; that it failed is told by the session's end alone."""
        self._by_text = services.policy.reads_text
        self._decisions: dict[tuple[str, int], tuple[tuple[Part, ...], Decision]] = {}
        self._masked: dict[int, Decision] = {}
        self._plans: dict[tuple[int, tuple[Column, ...]], _Planned] = {}

    # -- straight ---------------------------------------------------------

    def now(self, question: Question) -> Answer | None:
        """The answer, or None when it takes time."""
        if type(question) is Command:
            return self._command(question)
        if type(question) is Result:
            return self._result(question)
        if type(question) is Proof:
            evidence = question.secret is not None or question.scram or question.key
            return None if evidence else self._greeted(question)
        return None

    def _command(self, command: Command) -> Answer | None:
        known = self._decisions.get(self._meaning(command.text, command.parts))
        decision = known[1] if known is not None else self._judge(command)
        prepare = command.phase is Phase.PREPARE
        if decision.verdict is Verdict.HOLD and not prepare:
            return None
        self._write_down(command, decision)
        if decision.verdict is Verdict.BLOCK:
            return self._refused(Refuse(decision.reason, rule=decision.rules[0]))
        return self.allowed(command, decision)

    def _judge(self, command: Command) -> Decision:
        assert self.principal is not None
        assert self.target is not None
        now = datetime.fromtimestamp(self.services.world.wall(), UTC)
        decision = judge(command, self.principal, self.target.name, self.policy, now)
        if decision.cacheable:
            if len(self._decisions) >= CACHE:
                self._decisions.clear()
            # The parts are kept with it: while they live, nothing else has their id.
            meaning = self._meaning(command.text, command.parts)
            self._decisions[meaning] = (command.parts, decision)
        return decision

    def _meaning(self, text: str, parts: tuple[Part, ...]) -> tuple[str, int]:
        """What a decision that may be remembered depends on. Protocols hand
        out the same parts again for a text (or a text that differs only in
        values) that they know. The text alone would not do: what EXECUTE runs is
        in its parts."""
        return text if self._by_text else "", id(parts)

    def allowed(self, command: Command, decision: Decision) -> Allow:
        """The Allow for ``decision``, remembering the masks of its result."""
        if not decision.masks and not decision.standing:
            return _ALLOW
        if command.phase is Phase.RUN:
            self.remember(command.number, decision)
        return _ALLOW_MASKED

    def granted(self, text: str, parts: tuple[Part, ...]) -> Decision | None:
        """The decision that lets each command with ``text`` and ``parts`` run, whatever
        else there is to it; None where there is none, or it is none of that kind."""
        known = self._decisions.get(self._meaning(text, parts))
        if known is None or known[1].verdict is not Verdict.ALLOW:
            return None
        return known[1]

    def remember(self, number: int, decision: Decision) -> None:
        """The command ``number`` was let run by ``decision``, and its result may be
        asked about."""
        self._masked[number] = decision
        while len(self._masked) > CACHE:
            del self._masked[next(iter(self._masked))]

    def _write_down(self, command: Command, decision: Decision) -> None:
        parameters = command.parameters
        self.session.log.command(
            command.number,
            command.phase.value,
            command.text,
            decision.verdict,
            decision.rules,
            decision.reason,
            decision.policy,
            parameters=[shown(p) for p in parameters] if parameters else None,
            masks=decision.masks,
            shadow=decision.shadow,
        )

    def _result(self, result: Result) -> Answer:
        decision = self._masked.get(result.command)
        if decision is None:
            # The result of a command that was forgotten: nothing is known of it.
            return self._refused(
                Refuse("the command behind this result is not known any more", rule="masks")
            )
        key = (id(decision), result.columns)
        known = self._plans.get(key)
        if known is None:
            known = self._plan(key, decision)
        _, answer, masks = known
        if isinstance(answer, Refuse):
            return self._refused(answer)
        if masks:
            self.session.log.event("plan", {"command": result.command, "masks": masks})
        return answer

    def _plan(self, key: tuple[int, tuple[Column, ...]], decision: Decision) -> _Planned:
        """What may be seen of columns like these under ``decision``, worked out
        once: drivers run the same statement again and again."""
        columns = key[1]
        plan = self.policy.plan(decision, columns, self._mask)
        masks: list[list[str]] = []
        if isinstance(plan, Plan):
            masks = [
                [column.name, mask.name, mask.rule]
                for column, mask in zip(columns, plan.columns, strict=True)
                if mask is not None
            ]
            if decision.cacheable and not self._by_text and not masks and plan.detect is None:
                plan = replace(plan, lasting=True)
        # The decision is kept with it: while it lives, nothing else has its id.
        planned = (decision, plan, masks)
        if len(self._plans) >= CACHE:
            self._plans.clear()
        self._plans[key] = planned
        return planned

    def _refused(self, refuse: Refuse) -> Refuse:
        self.session.log.event(
            "refusal", {"kind": refuse.kind, "rule": refuse.rule, "reason": refuse.reason}
        )
        return refuse

    def _greeted(self, proof: Proof) -> Answer:
        services = self.services
        if services.journal.state() != "ok":
            return self._refused(Refuse("the recorder is short of space", kind="recorder"))
        if self.session.crowded:
            return self._refused(Refuse("too many connections", kind="busy"))
        if seconds := services.throttle.wait(self.session.peer):
            reason = f"too many failed logins from your address: wait {math.ceil(seconds)} s"
            return self._refused(Refuse(reason, kind="busy"))
        if self.listener.kind.carrier == "ssh":
            return Offer()  # the name is a target's, if it means anything
        offer = services.authority.offer(proof.claimed)
        self._unproven = offer.verifier is not None
        return offer

    # -- waiting ----------------------------------------------------------

    async def later(self, question: Question) -> Answer:
        """The answer to a question that ``now`` had none for."""
        if isinstance(question, Command):
            return await self._hold(question)
        if isinstance(question, Proof):
            return await self._prove(question)
        if isinstance(question, Destination):
            return await self._route(question)
        if isinstance(question, Challenge):
            return await self._credential(question)
        if isinstance(question, Errand):
            return await self._errand(question)
        if isinstance(question, Examine):
            return await self.examine(question)
        if isinstance(question, Cancel):
            self.session.log.event("cancel", {"asked": True})
            await self.services.cancels.cancel(question.key)
            return Done()
        raise TypeError(f"no answer to {type(question).__name__}")

    async def _errand(self, errand: Errand) -> Answer:
        """Run it; a client that waits for it hears so now and then."""
        async with trio.open_nursery() as nursery:
            if errand.say:
                nursery.start_soon(self._tell, errand)
            done = await run_errand(self, errand)
            nursery.cancel_scope.cancel()
        if self._quarantine is not None:
            # All was looked into; a push that is held may wait long for people.
            self._quarantine.close()
            self._quarantine = None
        return done

    async def _tell(self, errand: Errand) -> None:
        text = f"looking into {errand.purpose} …"
        while True:
            await trio.sleep(TELL_SECONDS)
            self.session.conversation.say(errand.number, text)
            self.session.resume()
            text = ""

    async def examine(self, question: Examine) -> Answer:
        """Have bulk looked into, in this session's own quarantine."""
        if self._quarantine is None:
            self._quarantine = self.services.quarantine()
        return await self._quarantine.examine(question)

    async def _prove(self, proof: Proof) -> Answer:
        services = self.services
        if seconds := services.throttle.wait(self.session.peer):
            # Many may have asked before the first of them failed.
            reason = f"too many failed logins from your address: wait {math.ceil(seconds)} s"
            return self._refused(Refuse(reason, kind="busy"))
        try:
            principal = await services.authority.prove(proof, self.session.peer)
        except StoreError as error:
            services.alarm("identity", str(error))
            return self._refused(Refuse("nobody can be proven now", kind="upstream"))
        except Refused as refused:
            if proof.secret is not None and guessable(proof.secret):
                services.throttle.failed(self.session.peer)
            self.session.log.event(
                "identity-refused", {"claimed": proof.claimed, "why": refused.reason}
            )
            return self._refused(Refuse(refused.public, kind="identity"))
        self.principal = principal
        self._unproven = False
        self.session.proven.set()
        self.session.log.event(
            "identity",
            {
                "claimed": proof.claimed,
                "subject": principal.subject,
                "issuer": principal.issuer,
                "kind": principal.kind,
                "groups": sorted(principal.groups),
                "run": principal.run,
                "tags": dict(principal.tags),
                **self._evidence(proof),
            },
        )
        return Proven(principal.subject)

    def _evidence(self, proof: Proof) -> Mapping[str, object]:
        """For the record: with what it was proven."""
        if proof.key:
            return self.services.authority.ssh_keys.facts(proof.key, self.session.peer)
        return {"method": "scram" if proof.scram else "secret"}

    async def _route(self, destination: Destination) -> Answer:
        services = self.services
        assert self.principal is not None
        try:
            name, database = self.listener.choose(
                destination.requested, destination.parameters.get("user", "")
            )
            target = services.targets.get(name)
            if target is None or target.kind.name != self.listener.kind.name:
                raise TargetRefused(f'there is no target "{name}"')
            target.admit(self.principal)
            database = target.choose(database)
        except TargetRefused as refused:
            return self._refused(Refuse(str(refused), kind="target"))
        problem = self.policy.unenforceable(target.name, target.kind)
        if problem:
            return self._refused(Refuse(problem, kind="target"))
        self.target = target
        if target.durability == "disk":
            self.session.synced = True
        self.session.log.event(
            "destination",
            {
                "target": target.name,
                "upstream": str(target.upstream),
                "user": target.user,
                "database": database,
                "tls": target.tls,
            },
        )
        try:
            leg = await reached(services, target, services.config.limits.dial)
        except DialError as error:
            return self._refused(Refuse(f"target {target.name}: {error}", kind="upstream"))
        self.session.adopt(leg)
        self._key = services.cancels.mint(self.session, target.kind.key_size)
        return Destined(
            user=target.user,
            database=database,
            tls=target.tls,
            cancel_key=self._key,
            settings={"auth": target.auth, **target.settings},
            memory=services.memory.setdefault(target.name, {}),
            masked=self.policy.masks_on(target.name, self.principal),
            own=services.own,
        )

    async def _credential(self, challenge: Challenge) -> Answer:
        assert self.target is not None
        target = self.target
        by_key = challenge.method == "publickey"
        wanted = target.key if by_key else target.password
        if wanted is None:
            return Refuse(
                f"the upstream asks for a credential and target {target.name} has none",
                kind="upstream",
            )
        certificate = b""
        try:
            secret = await self._resolved(wanted)
            if by_key and target.certificate is not None:
                certificate = (await self._resolved(target.certificate)).reveal()
        except Exception as error:
            self.services.alarm("secret", f"target {target.name}: {error}")
            return self._refused(
                Refuse(f"the credential of {target.name} is not to be had", kind="upstream")
            )
        self.session.note("credential", {"reference": wanted.reference, "method": challenge.method})
        return Credential(password=secret.reveal(), certificate=certificate)

    async def _resolved(self, secret: Secret) -> Sensitive:
        return await trio.to_thread.run_sync(secret.resolve, limiter=self.services.secret_threads)

    async def _hold(self, command: Command) -> Answer:
        decision = self._judge(command)
        self.holding += 1
        try:
            self._write_down(command, decision)
            answer = await self.services.holds.wait(self, command, decision)
        finally:
            self.holding -= 1
        if isinstance(answer, Refuse):
            return self._refused(answer)
        return answer

    def drifted(self, command: Command, decision: Decision) -> str:
        """Why ``decision`` no longer holds after the wait, "" when it does:
        rules may look at the time, and a proof lapses."""
        assert self.principal is not None
        fresh = self._judge(command)
        if fresh.verdict is Verdict.BLOCK:
            return f"it is blocked now by rule {fresh.rules[0]}: {fresh.reason}"
        if not {need.rule for need in fresh.needs} <= {need.rule for need in decision.needs}:
            return "other approvals are needed now"
        return ""

    # -- the rest ---------------------------------------------------------

    def tls_context(self, upgrade: Upgrade) -> tuple[ssl.SSLContext, str | None]:
        """The context and the server name for TLS on a leg."""
        if upgrade.side is Side.CLIENT:
            return self.listener.tls_context(), None
        assert self.target is not None
        return self.services.upstream_context(self.target, upgrade.alpn), self.target.upstream.host

    def _mask(self, name: str, args: Mapping[str, object], rule: str) -> Mask:
        return Mask(name, build(name, args, self.services.mask_key), rule)

    def withdraw(self) -> bool:
        """The client asks to cancel: withdraw the command that waits for
        people. False when none does."""
        return self.services.holds.withdraw(self.session.id)

    def close(self) -> None:
        """The session ends: its key is nobody's."""
        if self._unproven:
            self.services.throttle.failed(self.session.peer)
        if self._key is not None:
            self.services.cancels.forget(self._key)
        if self._quarantine is not None:
            self._quarantine.close()


def shown(parameter: Parameter) -> str | None:
    """A parameter as people read it; the bytes themselves are in the spans."""
    value = parameter.value
    if value is None:
        return None
    if parameter.form == "text":
        return value.decode("utf-8", "backslashreplace")
    return f"{parameter.type or parameter.form}:{value.hex()}"
