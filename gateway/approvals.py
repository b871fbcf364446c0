"""Approvals: people's answers to held commands.

An approval is bound to the digest of everything that will run, is used once,
expires, and needs as many distinct members of the named groups as the rules
say, never the requester.  Its life::

    pending -> approved -> consumed
    pending -> denied | expired | withdrawn
    approved -> expired | withdrawn

Every step is one ``BEGIN IMMEDIATE`` transaction, so of two processes that
decide at once exactly one is first, and the other is told.  What was decided,
by whom and why is appended to tables that refuse updates and deletes.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from gateway.approval_rows import (
    COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    from_row,
    to_row,
)
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import Rows, Store, StoreError

__all__ = [
    "Approval",
    "ApprovalDecision",
    "ApprovalError",
    "ApprovalRequest",
    "ApprovalState",
    "Approvals",
]

_INSTANCE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_ID = re.compile(r"AP-([1-9][0-9]{0,17})")
_PERSON_CLAIMS = ("actor", "login", "preferred_username", "user_login", "email")
Found: TypeAlias = "list[Approval]"

SIZE_MAX = 8 << 20
"""Bytes of text and parameters. Nobody can read more than that, so nobody
can approve it."""


class ApprovalError(Exception):
    """The step is not allowed, and nothing changed; the message says why."""


class Approvals:
    """The approvals of one gateway, in ``path``.

    ``clock`` gives Unix seconds.  ``instance`` is the id of this gateway
    process, "" for a command that makes no requests.  A process with an
    instance holds a lock file while it lives, so that the next one to start
    sees whose requests nobody waits for any more, however that process ended,
    and ends them.  All methods may be called from any thread; ``StoreError``
    where the store fails.
    """

    def __init__(self, path: Path, clock: Callable[[], float], instance: str = "") -> None:
        if instance and _INSTANCE.fullmatch(instance) is None:
            raise ValueError("an instance id has letters, digits, '_', '.' and '-' only")
        self._clock = clock
        self._instance = instance
        self._locks = path.with_name(path.name + ".alive")
        self._alive = -1
        self._store = Store(path, SCHEMA, SCHEMA_VERSION)
        if instance:
            try:
                self._locks.mkdir(mode=0o700, exist_ok=True)
                self._alive = self._lock(instance)
                fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._store.close()
                raise StoreError(f"{self._locks / instance}: {error.strerror}") from error
            self.lapse_dead()

    def close(self) -> None:
        """End what this process still asks for, and close the store."""
        try:
            if self._alive >= 0:
                self.lapse(self._instance, "the gateway stopped")
                (self._locks / self._instance).unlink(missing_ok=True)
        finally:
            if self._alive >= 0:
                os.close(self._alive)
                self._alive = -1
            self._store.close()

    # -- the gateway's side -------------------------------------------------

    def request(self, request: ApprovalRequest) -> Approval:
        """Ask. The approval is pending when this returns, and on disk.

        ``ApprovalError`` when nobody could ever approve it: no need, a need
        without a group or a count, or more text than a person can read.
        """
        if not request.needs:
            raise ApprovalError("no rule says who may approve this")
        for need in request.needs:
            if not need.groups or need.count < 1:
                raise ApprovalError(f"rule {need.rule} names nobody who may approve this")
        size = len(request.text) + sum(len(p.value or b"") for p in request.parameters)
        if size > SIZE_MAX:
            raise ApprovalError(f"{size} bytes are too much for a person to approve")
        now = self._clock()
        expires = now + min(need.ttl for need in request.needs)
        values = (*to_row(request), now, expires, self._instance)
        marks = ", ".join("?" * len(values))
        names = COLUMNS[1 : len(values) + 1]
        with self._store.transaction() as db:
            made = db.execute(f"insert into approval ({', '.join(names)}) values ({marks})", values)
            number = made.lastrowid
            db.execute(
                "insert into step (approval, at, state, why) values (?, ?, 'pending', '')",
                (number, now),
            )
        return self.get(f"AP-{number}")

    def consume(self, id: str, digest: str) -> bool:
        """Use the approval for what has ``digest``: True exactly once, and
        only while it is approved, not expired, and for exactly that."""
        number = _number(id)
        with self._store.transaction() as db:
            now = self._clock()
            row = db.execute(
                "select digest, expires from approval where number = ? and state = 'approved'",
                (number,),
            ).fetchone()
            if row is None or now >= row[1]:
                return False
            if not hmac.compare_digest(row[0].encode(), digest.encode("utf-8", "surrogatepass")):
                return False
            _step(db, number, ("approved",), ApprovalState.CONSUMED, why="", now=now)
        return True

    def withdraw(self, id: str, why: str) -> bool:
        """Nobody waits for it any more. False when it had ended already."""
        with self._store.transaction() as db:
            return _step(
                db,
                _number(id),
                ("pending", "approved"),
                ApprovalState.WITHDRAWN,
                why=why,
                now=self._clock(),
            )

    def lapse(self, instance: str, why: str = "gateway restarted") -> int:
        """End what ``instance`` asked for: pending becomes denied, approved
        becomes withdrawn. Returns how many."""
        rows = self._open("instance = ?", (instance,))
        if not rows:
            return 0
        now = self._clock()
        with self._store.transaction() as db:
            return sum(
                _step(db, number, ("pending",), ApprovalState.DENIED, why=why, now=now)
                or _step(db, number, ("approved",), ApprovalState.WITHDRAWN, why=why, now=now)
                for (number,) in rows
            )

    def lapse_dead(self) -> int:
        """``lapse`` for every instance whose process has ended."""
        ended = 0
        for (instance,) in self._store.read(
            "select distinct instance from approval where state in ('pending', 'approved')"
        ):
            if instance == self._instance or not instance:
                continue
            descriptor = self._lock(instance)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # lives
            else:
                ended += self.lapse(instance)
                (self._locks / instance).unlink(missing_ok=True)
            finally:
                os.close(descriptor)
        return ended

    def expire_due(self) -> int:
        """End what has expired; returns how many. Writes only when some did."""
        now = self._clock()
        rows = self._open("expires <= ?", (now,))
        if not rows:
            return 0
        why = "nobody decided in time"
        with self._store.transaction() as db:
            return sum(
                _step(db, number, ("pending", "approved"), ApprovalState.EXPIRED, why=why, now=now)
                for (number,) in rows
            )

    def data_version(self) -> int:
        """Grows when anything changed, in this or another process."""
        return self._store.data_version()

    # -- the people's side --------------------------------------------------

    def decide(self, id: str, approver: Principal, approve: bool, reason: str) -> Approval:
        """Count ``approver``'s answer. One deny ends it; the last approval
        that is needed makes it approved. ``ApprovalError`` says why not."""
        number = _number(id)
        with self._store.transaction() as db:
            # The clock is read once nobody else can write any more.
            now = self._clock()
            approval = self._get(number)
            _may_decide(approval, approver, now)
            if any(_person(d) == (approver.issuer, approver.subject) for d in approval.decisions):
                raise ApprovalError(f"{approver.subject} has approved {id} already")
            db.execute(
                "insert into decision (approval, at, subject, issuer, groups, approve, reason)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    now,
                    approver.subject,
                    approver.issuer,
                    json.dumps(sorted(approver.groups)),
                    int(approve),
                    reason,
                ),
            )
            if not approve:
                _step(db, number, ("pending",), ApprovalState.DENIED, why=reason, now=now)
            elif all(_met(need, self._get(number).decisions) for need in approval.needs):
                _step(db, number, ("pending",), ApprovalState.APPROVED, why=reason, now=now)
        return self.get(id)

    def get(self, id: str) -> Approval:
        """``ApprovalError`` when there is none. An approval whose time is up
        reads as expired, also before ``expire_due`` has said so."""
        return self._get(_number(id))

    def list(
        self, state: ApprovalState | None = None, target: str | None = None, limit: int = 100
    ) -> Found:
        """The newest first."""
        now = self._clock()
        where, arguments = ["1"], list[object]()
        if state in (ApprovalState.PENDING, ApprovalState.APPROVED):
            where.append("state = ? and expires > ?")
            arguments += [state.value, now]
        elif state is ApprovalState.EXPIRED:
            where.append("(state = ? or (state in ('pending', 'approved') and expires <= ?))")
            arguments += [state.value, now]
        elif state is not None:
            where.append("state = ?")
            arguments.append(state.value)
        if target is not None:
            where.append("target = ?")
            arguments.append(target)
        rows = self._store.read(
            f"select {', '.join(COLUMNS)} from approval where {' and '.join(where)}"
            " order by number desc limit ?",
            [*arguments, limit],
        )
        return [from_row(row, self._decisions(row[0]), now) for row in rows]

    # -- inside ------------------------------------------------------------

    def _get(self, number: int) -> Approval:
        rows = self._store.read(
            f"select {', '.join(COLUMNS)} from approval where number = ?", (number,)
        )
        if not rows:
            raise ApprovalError(f"there is no approval AP-{number}")
        return from_row(rows[0], self._decisions(number), self._clock())

    def _decisions(self, number: int) -> Rows:
        return self._store.read(
            "select at, subject, issuer, groups, approve, reason from decision"
            " where approval = ? order by number",
            (number,),
        )

    def _open(self, where: str, arguments: tuple[object, ...]) -> Rows:
        return self._store.read(
            f"select number from approval where state in ('pending', 'approved') and {where}",
            arguments,
        )

    def _lock(self, instance: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._locks / instance, flags, 0o600)


def _number(id: str) -> int:
    match = _ID.fullmatch(id)
    if match is None:
        raise ApprovalError("an approval's id looks like AP-1")
    return int(match[1])


def _person(decision: ApprovalDecision) -> tuple[str, str]:
    return decision.issuer, decision.subject


def _met(need: ApprovalNeed, decisions: tuple[ApprovalDecision, ...]) -> bool:
    people = {_person(d) for d in decisions if d.approve and not d.groups.isdisjoint(need.groups)}
    return len(people) >= need.count


def _may_decide(approval: Approval, approver: Principal, now: float) -> None:
    """Raise unless ``approver`` may answer. Errs towards refusing: the same
    name from another issuer may be another person, who then can't approve."""
    request = approval.request
    if approval.state is not ApprovalState.PENDING:
        why = f" ({approval.why})" if approval.why else ""
        raise ApprovalError(f"{approval.id} is {approval.state.value} already{why}")
    if approver.kind != "person":
        raise ApprovalError("only a person can decide; this identity is of kind " + approver.kind)
    if approver.expires and approver.expires <= now:
        raise ApprovalError("your proof of identity has expired")
    if approver.run and approver.run == request.run:
        raise ApprovalError("the run that asks can't decide its own request")
    # Names are compared without case: logins of many issuers ignore it.
    known = (approver.subject, *(approver.claims.get(name, "") for name in _PERSON_CLAIMS))
    names = {name.casefold() for name in known} - {""}
    if not names.isdisjoint({name.casefold() for name in (request.subject, *request.actors)}):
        raise ApprovalError("nobody can decide their own request")
    if all(approver.groups.isdisjoint(need.groups) for need in request.needs):
        groups = ", ".join(sorted({g for need in request.needs for g in need.groups}))
        raise ApprovalError(f"{approval.id} is for members of {groups}")


def _step(
    db: sqlite3.Connection,
    number: int,
    before: tuple[str, ...],
    after: ApprovalState,
    *,
    why: str,
    now: float,
) -> bool:
    """Inside a transaction: one step of the state machine, if the approval is
    in a state of ``before``."""
    marks = ", ".join("?" * len(before))
    changed = db.execute(
        "update approval set state = ?, ended = ?, why = ?"
        f" where number = ? and state in ({marks})",
        (after.value, now, why, number, *before),
    )
    if changed.rowcount != 1:
        return False
    db.execute(
        "insert into step (approval, at, state, why) values (?, ?, ?, ?)",
        (number, now, after.value, why),
    )
    return True
