"""What an approval is made of, and how it lies in the store."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.policy.verdicts import ApprovalNeed
from gateway.store import Row
from protocols.contract import Parameter


class ApprovalState(str, Enum):
    PENDING = "pending"
    APPROVED = "approved"
    CONSUMED = "consumed"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What is asked for, whole: an approver sees all that will run.

    ``digest`` binds the answer (``Command.digest`` with target, principal and
    policy version). ``actors`` are further names of the people behind the
    requester (who started the CI run): they can't approve either.
    """

    session: str
    run: str
    subject: str
    issuer: str
    groups: tuple[str, ...]
    target: str
    protocol: str
    digest: str
    text: str
    parameters: tuple[Parameter, ...]
    needs: tuple[ApprovalNeed, ...]
    rules: tuple[str, ...]
    reason: str
    policy: str
    actors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """One person's answer; ``groups`` are theirs at that moment, ``at`` is in
    Unix seconds."""

    at: float
    subject: str
    issuer: str
    groups: frozenset[str]
    approve: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A request and what became of it. Times are Unix seconds; ``ended`` is
    when it left ``pending`` or, later, ``approved``, None while pending;
    ``why`` is the reason of the last step."""

    id: str
    request: ApprovalRequest
    state: ApprovalState
    created: float
    expires: float
    instance: str
    ended: float | None
    why: str
    decisions: tuple[ApprovalDecision, ...]

    @property
    def digest(self) -> str:
        return self.request.digest

    @property
    def target(self) -> str:
        return self.request.target

    @property
    def needs(self) -> tuple[ApprovalNeed, ...]:
        return self.request.needs


SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
create table approval (
    number integer primary key autoincrement,
    session text not null, run text not null,
    subject text not null, issuer text not null, groups text not null, actors text not null,
    target text not null, protocol text not null,
    digest text not null, text blob not null, parameters text not null,
    needs text not null, rules text not null, reason text not null, policy text not null,
    created real not null, expires real not null, instance text not null,
    state text not null default 'pending' check (state in
        ('pending', 'approved', 'consumed', 'denied', 'expired', 'withdrawn')),
    ended real, why text not null default ''
);
create index approval_open on approval (expires) where state in ('pending', 'approved');
create table decision (
    number integer primary key autoincrement,
    approval integer not null references approval (number),
    at real not null, subject text not null, issuer text not null, groups text not null,
    approve integer not null check (approve in (0, 1)), reason text not null,
    unique (approval, issuer, subject)
);
create table step (
    number integer primary key autoincrement,
    approval integer not null references approval (number),
    at real not null, state text not null, why text not null
);
create trigger decision_kept before update on decision
    begin select raise(abort, 'decisions are append-only'); end;
create trigger decision_stays before delete on decision
    begin select raise(abort, 'decisions are append-only'); end;
create trigger step_kept before update on step
    begin select raise(abort, 'steps are append-only'); end;
create trigger step_stays before delete on step
    begin select raise(abort, 'steps are append-only'); end;
create trigger approval_stays before delete on approval
    begin select raise(abort, 'approvals are kept'); end;
create trigger approval_bound before update of session, run, subject, issuer, groups, actors,
    target, protocol, digest, text, parameters, needs, rules, reason, policy, created, expires,
    instance on approval
    begin select raise(abort, 'what was asked for never changes'); end;
create trigger approval_order before update of state on approval
    when not (old.state = 'pending' and new.state in ('approved', 'denied', 'expired', 'withdrawn')
        or old.state = 'approved' and new.state in ('consumed', 'expired', 'withdrawn'))
    begin select raise(abort, 'no such step'); end
"""

COLUMNS: Final = (
    *("number", "session", "run", "subject", "issuer", "groups", "actors", "target", "protocol"),
    *("digest", "text", "parameters", "needs", "rules", "reason", "policy"),
    *("created", "expires", "instance", "state", "ended", "why"),
)


def to_row(request: ApprovalRequest) -> tuple[object, ...]:
    """The columns from ``session`` to ``policy``."""
    return (
        request.session,
        request.run,
        request.subject,
        request.issuer,
        json.dumps(request.groups),
        json.dumps(request.actors),
        request.target,
        request.protocol,
        request.digest,
        request.text.encode("utf-8", "surrogateescape"),
        json.dumps([_from_parameter(p) for p in request.parameters]),
        json.dumps([[n.rule, n.groups, n.count, n.ttl, n.reason] for n in request.needs]),
        json.dumps(request.rules),
        request.reason,
        request.policy,
    )


def from_row(row: Row, decisions: list[Row], now: float) -> Approval:
    """``row`` has ``COLUMNS``, ``decisions`` the fields of ``ApprovalDecision``."""
    fields = dict(zip(COLUMNS, row, strict=True))
    state = ApprovalState(fields["state"])
    why = fields["why"]
    if state in (ApprovalState.PENDING, ApprovalState.APPROVED) and now >= fields["expires"]:
        state = ApprovalState.EXPIRED
    request = ApprovalRequest(
        session=fields["session"],
        run=fields["run"],
        subject=fields["subject"],
        issuer=fields["issuer"],
        groups=tuple(json.loads(fields["groups"])),
        target=fields["target"],
        protocol=fields["protocol"],
        digest=fields["digest"],
        text=fields["text"].decode("utf-8", "surrogateescape"),
        parameters=tuple(_to_parameter(*p) for p in json.loads(fields["parameters"])),
        needs=tuple(
            ApprovalNeed(rule, tuple(groups), count, ttl, reason)
            for rule, groups, count, ttl, reason in json.loads(fields["needs"])
        ),
        rules=tuple(json.loads(fields["rules"])),
        reason=fields["reason"],
        policy=fields["policy"],
        actors=tuple(json.loads(fields["actors"])),
    )
    return Approval(
        id=f"AP-{fields['number']}",
        request=request,
        state=state,
        created=fields["created"],
        expires=fields["expires"],
        instance=fields["instance"],
        ended=fields["ended"],
        why=why,
        decisions=tuple(
            ApprovalDecision(at, subject, issuer, frozenset(json.loads(groups)), bool(said), reason)
            for at, subject, issuer, groups, said, reason in decisions
        ),
    )


def _from_parameter(parameter: Parameter) -> list[str | None]:
    value = parameter.value
    text = None if value is None else base64.b64encode(value).decode()
    return [text, parameter.form, parameter.type]


def _to_parameter(value: str | None, form: str, type: str) -> Parameter:
    return Parameter(None if value is None else base64.b64decode(value), form, type)
