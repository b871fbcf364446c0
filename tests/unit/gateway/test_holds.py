"""Holds: waiting for people, with a store that does as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from gateway import holds
from gateway.approvals import ApprovalState
from gateway.holds import Holds
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import StoreError
from protocols.contract import Allow, Refuse


class Store:
    """One approval after another; ``broken`` makes every call fail."""

    def __init__(self) -> None:
        self.broken = False
        self.state = ApprovalState.PENDING
        self.count = 0
        self.gets = 0
        self.version = 0
        self.decided: set[str] = set()
        self.withdrawn: list[str] = []
        self.buried = 0

    def _check(self) -> None:
        if self.broken:
            raise StoreError("the store is gone")

    def request(self, request: Any) -> Any:
        self._check()
        self.count += 1
        return self._approval(f"AP-{self.count}")

    def _approval(self, id: str) -> Any:
        state = ApprovalState.APPROVED if id in self.decided else self.state
        return SimpleNamespace(id=id, state=state, digest="d", decisions=())

    def get(self, id: str) -> Any:
        self._check()
        self.gets += 1
        return self._approval(id)

    def consume(self, id: str, digest: str) -> bool:
        self._check()
        return True

    def withdraw(self, id: str, why: str) -> bool:
        self._check()
        self.withdrawn.append(why)
        return True

    def expire_due(self) -> int:
        self._check()
        return 0

    def data_version(self) -> int:
        self._check()
        return self.version

    def pending(self) -> set[str]:
        self._check()
        if self.state is not ApprovalState.PENDING:
            return set()
        return {f"AP-{number + 1}" for number in range(self.count)} - self.decided

    def lapse_dead(self) -> int:
        self.buried += 1
        self._check()
        return 0


ME = Principal(subject="agent-7", issuer="i", kind="agent", groups=frozenset())


def relay(most: int = 20, alarms: list[str] | None = None) -> Any:
    said = [] if alarms is None else alarms
    session = SimpleNamespace(
        id="S1",
        conversation=SimpleNamespace(say=lambda number, text: None),
        resume=lambda: None,
        log=SimpleNamespace(event=lambda kind, fields: None),
    )
    return SimpleNamespace(
        principal=ME,
        target=SimpleNamespace(name="db", kind=SimpleNamespace(name="postgres", keepalive=0.0)),
        policy=SimpleNamespace(version="v"),
        services=SimpleNamespace(
            config=SimpleNamespace(limits=SimpleNamespace(approvals=most)),
            alarm=lambda what, text: said.append(text),
        ),
        session=session,
        drifted=lambda command, decision: "",
        allowed=lambda command, decision: Allow(),
    )


COMMAND: Any = SimpleNamespace(number=1, text="x", parameters=(), digest=lambda *_: "d")
DECISION: Any = SimpleNamespace(rules=("changes",), needs=(), reason="because")


def test_rules_that_ask_the_same_of_the_same_are_told_once() -> None:
    approval: Any = SimpleNamespace(id="AP-1")
    one, same = (ApprovalNeed(name, ("leads",), 1, 60, "") for name in ("a", "b"))
    two = ApprovalNeed("c", ("dba", "leads"), 2, 60, "")
    decision: Any = SimpleNamespace(needs=(one, same, two), reason="why")
    assert holds._notice(approval, decision, 0) == (
        "waiting for approval AP-1 from 1 of leads and 2 of dba, leads (why)"
    )


def run(scene: Any) -> None:
    async def main() -> None:
        store = Store()
        made = Holds(store)  # type: ignore[arg-type]
        alarms: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.watch, lambda what, text: alarms.append(text))
            with trio.fail_after(8):
                await scene(made, store, alarms)
            nursery.cancel_scope.cancel()
        assert not made._waiting
        assert not made._mine

    trio.run(main)


def test_an_approval_that_comes_lets_the_command_run() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await made.wait(relay(), COMMAND, DECISION))

            nursery.start_soon(ask)
            await trio.sleep(0.2)
            assert answers == []
            store.state, store.version = ApprovalState.APPROVED, 1
        assert answers == [Allow()]

    run(scene)


def test_of_many_that_wait_one_decision_wakes_one() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await made.wait(relay(most=100), COMMAND, DECISION))

            for _ in range(50):
                nursery.start_soon(ask)
            await trio.sleep(0.3)
            gets = store.gets
            store.decided, store.version = {"AP-7"}, 1
            with trio.fail_after(5):
                while not answers:
                    await trio.sleep(0.01)
            assert answers == [Allow()]
            assert store.gets - gets == 2  # its state, and how it was used
            nursery.cancel_scope.cancel()

    run(scene)


def test_a_store_that_dies_refuses_the_command_and_ends_no_task() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        said: list[str] = []
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await made.wait(relay(alarms=said), COMMAND, DECISION))

            nursery.start_soon(ask)
            await trio.sleep(0.2)
            store.broken = True
        assert isinstance(answers[0], Refuse)
        assert "can't be asked" in answers[0].reason
        assert said
        again = await made.wait(relay(alarms=said), COMMAND, DECISION)
        assert isinstance(again, Refuse)
        store.broken, store.state = False, ApprovalState.APPROVED
        assert await made.wait(relay(), COMMAND, DECISION) == Allow()

    run(scene)


def test_a_change_in_the_instant_of_a_notice_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store's version does not move again; each notice looks anew."""
    monkeypatch.setattr(holds, "NOTICE_SECONDS", 0.15)

    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await made.wait(relay(), COMMAND, DECISION))

            nursery.start_soon(ask)
            await trio.sleep(0.2)
            store.state = ApprovalState.APPROVED  # and no new version
        assert answers == [Allow()]

    run(scene)


def test_a_client_that_leaves_withdraws() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        with trio.move_on_after(0.2):
            await made.wait(relay(), COMMAND, DECISION)
        assert store.withdrawn == ["the session ended"]

    run(scene)


def test_a_cancel_by_the_client_is_a_refusal_of_its_own_kind() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await made.wait(relay(), COMMAND, DECISION))

            nursery.start_soon(ask)
            await trio.sleep(0.1)
            assert not made.withdraw("another session")
            assert made.withdraw("S1")
        assert answers[0].kind == "withdrawn"
        assert store.withdrawn == ["withdrawn by the client"]

    run(scene)


def test_the_limit_holds_for_requests_at_the_same_instant() -> None:
    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await made.wait(relay(most=3), COMMAND, DECISION))

        with trio.move_on_after(0.4):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(ask)
        assert store.count == 3
        assert len(answers) == 7
        assert all("wait for approval already" in answer.reason for answer in answers)

    run(scene)


def test_what_the_dead_asked_for_is_ended_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "BURY_SECONDS", 0.05)

    async def scene(made: Holds, store: Store, alarms: list[str]) -> None:
        store.broken = True
        await trio.sleep(0.2)
        store.broken = False
        await trio.sleep(0.2)
        assert store.buried > 3
        assert alarms

    run(scene)
