"""What expires, under a wall clock that is set a year forward or back: never longer than
it was given, and nothing that was over comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.approval_rows import ApprovalRequest, ApprovalState
from gateway.approvals import ApprovalError, Approvals
from gateway.identity.errors import Refused
from gateway.identity.tickets import Tickets
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.world import FixedWorld

YEAR = 365 * 86_400
WHO = Principal("boss", "iss", groups=frozenset({"g"}))


@pytest.mark.parametrize("step", [YEAR, -YEAR, 901, -3600])
def test_a_ticket(tmp_path: Path, step: int) -> None:
    world = FixedWorld()
    tickets = Tickets(tmp_path, world)
    ticket = tickets.mint(WHO)
    assert tickets.redeem(ticket).subject == "boss"
    world.jump(step)
    with pytest.raises(Refused):
        tickets.redeem(ticket)
    world.jump(-step)
    world.pass_time(899)
    assert tickets.redeem(ticket).subject == "boss"
    world.pass_time(2)
    with pytest.raises(Refused):
        tickets.redeem(ticket)


def test_an_approval(tmp_path: Path) -> None:
    world = FixedWorld()
    approvals = Approvals(tmp_path / "approvals.db", world.wall, instance="g")
    asked = ApprovalRequest(
        "S1", "run", "agent", "iss", ("g",), "db", "postgres", "d", "DELETE", (),
        (ApprovalNeed("r", ("g",), ttl=600.0),), ("r",), "held", "v1",
    )  # fmt: skip
    made = approvals.request(asked).id
    world.jump(YEAR)
    with pytest.raises(ApprovalError):
        approvals.decide(made, WHO, True, "late")
    assert approvals.get(made).state is ApprovalState.EXPIRED
    approvals.expire_due()  # as the gateway does all the time
    world.jump(-YEAR)
    with pytest.raises(ApprovalError):
        approvals.decide(made, WHO, True, "it is over, whatever the clock says now")
    second = approvals.request(asked).id
    approvals.decide(second, WHO, True, "fine")
    assert approvals.consume(second, "d")
    world.jump(-YEAR)
    assert not approvals.consume(second, "d"), "used once"
    approvals.close()
