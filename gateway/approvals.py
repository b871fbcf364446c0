"""Approvals: people's answers to held commands.

An approval is bound to the digest of everything that will run, is used once,
expires, and needs as many distinct members of the named groups as the rules
say, never the requester.  Its life::

    pending -> approved -> consumed
    pending -> denied | expired | withdrawn
    approved -> expired | withdrawn

Every step is one transaction in which nobody else writes, so of two that decide
at once, be it at two gateways, exactly one is first, and the other is told.  What
was decided, by whom and why is appended to tables that refuse updates and deletes.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from gateway.approval_rows import (
    COLUMNS,
    Approval,
    ApprovalDecision,
    ApprovalRequest,
    ApprovalState,
    from_row,
    to_row,
)
from gateway.approval_store import ApprovalStore, LocalApprovalStore, Transaction
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import Rows, StoreError

__all__ = [
    "Approval",
    "ApprovalDecision",
    "ApprovalError",
    "ApprovalRequest",
    "ApprovalState",
    "Approvals",
]

_ID = re.compile(r"AP-([1-9][0-9]{0,17})")
_PERSON_CLAIMS = ("actor", "login", "preferred_username", "user_login", "email")
Found: TypeAlias = "list[Approval]"

SIZE_MAX = 8 << 20
"""Bytes of text and parameters. Nobody can read more than that, so nobody
can approve it."""


class ApprovalError(Exception):
    """The step is not allowed, and nothing changed; the message says why."""


class Approvals:
    """The approvals of one gateway, or of several that share a store.

    ``place`` is a file (then ``clock`` gives Unix seconds) or a store.
    ``instance`` is the id of this gateway process, "" for a command that makes
    no requests.  The store knows which instances live, so that the others see
    whose requests nobody waits for any more, however that process ended, and end
    them.  All methods may be called from any thread; ``StoreError`` where the
    store fails.
    """

    def __init__(
        self,
        place: Path | ApprovalStore,
        clock: Callable[[], float] = time.time,
        instance: str = "",
    ) -> None:
        self._instance = ""
        self._store: ApprovalStore = (
            LocalApprovalStore(place, clock) if isinstance(place, Path) else place
        )
        if not instance:
            return
        try:
            self._store.claim(instance)
        except BaseException:
            self._store.close()
            raise
        self._instance = instance
        try:
            self.lapse_dead()
        except StoreError:
            if not self._store.shared:
                self.close()
                raise
            # Whoever needs it hears of it; the gateway itself can do without.

    def close(self) -> None:
        """End what this process still asks for, and close the store."""
        instance, self._instance = self._instance, ""
        try:
            if instance:
                self.lapse(instance, "the gateway stopped")
                self._store.release(instance)
        finally:
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
        values = to_row(request)
        if not all(_storable(value) for value in values if isinstance(value, str)):
            raise ApprovalError("a name in it has characters that can't be kept")
        now = self._store.now()
        expires = now + min(need.ttl for need in request.needs)
        values = (*values, now, expires, self._instance)
        marks = ", ".join("?" * len(values))
        names = COLUMNS[1 : len(values) + 1]
        with self._store.transaction() as db:
            sql = f"insert into approval ({', '.join(names)}) values ({marks}) returning number"
            row = db.execute(sql, values).fetchone()
            assert row is not None
            number = int(row[0])
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
            now = self._store.now()
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
                now=self._store.now(),
            )

    def lapse(self, instance: str, why: str = "gateway restarted") -> int:
        """End what ``instance`` asked for: pending becomes denied, approved
        becomes withdrawn. Returns how many."""
        rows = self._open("instance = ?", (instance,))
        if not rows:
            return 0
        now = self._store.now()
        with self._store.transaction() as db:
            return sum(
                _step(db, number, ("pending",), ApprovalState.DENIED, why=why, now=now)
                or _step(db, number, ("approved",), ApprovalState.WITHDRAWN, why=why, now=now)
                for (number,) in rows
            )

    def lapse_dead(self) -> int:
        """``lapse`` for every instance whose process has ended."""
        asking = self._store.read(
            "select distinct instance from approval where state in ('pending', 'approved')"
        )
        lapsed = 0
        for instance in self._store.ended(i for (i,) in asking if i not in ("", self._instance)):
            lapsed += self.lapse(instance)
            self._store.release(instance)
        return lapsed

    def expire_due(self) -> int:
        """End what has expired; returns how many. Writes only when some did."""
        now = self._store.now()
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

    def pending(self) -> set[str]:
        """The ids of what this process asked for and nobody has decided or ended."""
        sql = "select number from approval where state = 'pending' and instance = ?"
        return {f"AP-{number}" for (number,) in self._store.read(sql, (self._instance,))}

    # -- the people's side --------------------------------------------------

    def decide(self, id: str, approver: Principal, approve: bool, reason: str) -> Approval:
        """Count ``approver``'s answer. One deny ends it; the last approval
        that is needed makes it approved. ``ApprovalError`` says why not."""
        number = _number(id)
        with self._store.transaction() as db:
            # The clock is read once nobody else can write any more.
            now = self._store.now()
            approval = self._get(number)
            _may_decide(approval, approver, now)
            if any(d.subject.casefold() == approver.subject.casefold() for d in approval.decisions):
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
                    _kept(reason),
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
        now = self._store.now()
        where, arguments = ["true"], list[object]()
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
        return from_row(rows[0], self._decisions(number), self._store.now())

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


def _number(id: str) -> int:
    match = _ID.fullmatch(id)
    if match is None:
        raise ApprovalError("an approval's id looks like AP-1")
    return int(match[1])


def _storable(text: str) -> bool:
    """Whether every database keeps it as it is."""
    return "\0" not in text and text.encode("utf-8", "ignore").decode() == text


def _kept(text: str) -> str:
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _met(need: ApprovalNeed, decisions: Iterable[ApprovalDecision]) -> bool:
    """Names count once, whoever attests them: gateways may call an issuer
    differently, and one person may be known to two."""
    people = {
        d.subject.casefold()
        for d in decisions
        if d.approve and not d.groups.isdisjoint(need.groups)
    }
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
    if not _storable(approver.subject + approver.issuer):
        raise ApprovalError("your name has characters that can't be kept")
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
    db: Transaction,
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
        (after.value, now, _kept(why), number, *before),
    )
    if changed.rowcount != 1:
        return False
    db.execute(
        "insert into step (approval, at, state, why) values (?, ?, ?, ?)",
        (number, now, after.value, _kept(why)),
    )
    return True
