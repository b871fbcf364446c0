"""Tickets: minted, redeemed, expired, revoked, tampered with."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from gateway.identity.errors import Refused
from gateway.identity.tickets import MOST_TTL, Tickets
from gateway.policy.principal import Principal
from gateway.world import FixedWorld, World

WHO = Principal(
    "repo:a/b", "github", "ci", frozenset({"x", "y"}), "77", {"t": "1"}, {"c": "2"}, 5.0
)


@pytest.fixture
def world() -> FixedWorld:
    return FixedWorld()


@pytest.fixture
def tickets(tmp_path: Path, world: FixedWorld) -> Tickets:
    return Tickets(tmp_path, world)


def only(tmp_path: Path) -> Path:
    (one,) = (tmp_path / "tickets").iterdir()
    return one


def test_a_ticket_is_its_principal_until_it_expires(tickets: Tickets, world: FixedWorld) -> None:
    ticket = tickets.mint(WHO, 60)
    assert re.fullmatch(r"wwt_[a-z2-7]{32}", ticket)
    for _ in range(3):  # any number of times
        found = tickets.redeem(ticket)
    assert (found.subject, found.issuer, found.kind, found.run) == (
        "repo:a/b",
        "github",
        "ci",
        "77",
    )
    assert (found.groups, found.tags, found.claims) == (WHO.groups, WHO.tags, WHO.claims)
    assert found.expires == world.wall() + 60
    world.pass_time(60)
    with pytest.raises(Refused):
        tickets.redeem(ticket)


def test_what_is_stored_lets_nobody_in(tickets: Tickets, tmp_path: Path) -> None:
    ticket = tickets.mint(WHO)
    where = only(tmp_path)
    assert ticket not in where.read_text() + where.name
    assert ticket[4:] not in where.read_text() + where.name
    assert where.stat().st_mode & 0o777 == 0o600
    assert where.parent.stat().st_mode & 0o777 == 0o700


def test_real_tickets_differ(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path, World())
    assert len({tickets.mint(WHO) for _ in range(50)}) == 50
    assert len(tickets.rows()) == 50


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "wwt_",
        "wwt_" + "a" * 32,
        "wwt_" + "a" * 31,
        "wwt_../../../etc/passwd",
        "wwt_" + "A" * 32,
        "wwt_" + "a" * 32 + "\n",
        "wwt_" + "1" * 32,
    ],
)
def test_forged_tickets(tickets: Tickets, forged: str) -> None:
    tickets.mint(WHO)
    with pytest.raises(Refused) as caught:
        tickets.redeem(forged)
    assert caught.value.public == "the ticket is not valid, or has expired"


def test_ttl_has_bounds(tickets: Tickets) -> None:
    for ttl in (0, -1, MOST_TTL + 1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="hours"):
            tickets.mint(WHO, ttl)
    assert tickets.mint(WHO, MOST_TTL)


def test_revoked_by_itself_by_id_and_by_subject(tickets: Tickets) -> None:
    one, two, three = (tickets.mint(WHO) for _ in range(3))
    assert tickets.revoke(one) == 1
    assert tickets.revoke(one) == 0
    assert tickets.revoke("a") == 0
    assert tickets.revoke("*") == 0
    rows = tickets.rows()
    assert len(rows) == 2
    assert tickets.revoke(rows[0].id) == 1
    assert tickets.revoke_subject("repo:a/b", "other") == 0
    assert tickets.revoke_subject("repo:a/b", "github") == 1
    for ticket in (one, two, three):
        with pytest.raises(Refused):
            tickets.redeem(ticket)


def test_purge_forgets_what_expired_and_what_is_broken(
    tickets: Tickets, tmp_path: Path, world: FixedWorld
) -> None:
    tickets.mint(WHO, 10)
    kept = tickets.mint(WHO, 100)
    (tmp_path / "tickets" / ("0" * 64)).write_text("{")
    world.pass_time(11)
    assert tickets.purge() == 1
    assert len(list((tmp_path / "tickets").iterdir())) == 1
    assert tickets.redeem(kept)


def test_a_clock_set_back_does_not_revive(tickets: Tickets, world: FixedWorld) -> None:
    ticket = tickets.mint(WHO, 60)
    world.jump(-3600)
    with pytest.raises(Refused):
        tickets.redeem(ticket)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"version": 1, "minted": 0.0, "expires": 1e300, "principal": []}',
        b"[" * 50_000,
    ],
)
def test_files_that_say_nothing(tickets: Tickets, tmp_path: Path, body: bytes) -> None:
    ticket = tickets.mint(WHO)
    only(tmp_path).write_bytes(body)
    with pytest.raises(Refused):
        tickets.redeem(ticket)
    assert tickets.rows() == []


def test_a_lengthened_life_is_refused(tickets: Tickets, tmp_path: Path) -> None:
    ticket = tickets.mint(WHO)
    stored = json.loads(only(tmp_path).read_text())
    stored["expires"] += 10 * MOST_TTL
    only(tmp_path).write_text(json.dumps(stored))
    with pytest.raises(Refused):
        tickets.redeem(ticket)


def test_files_of_strangers_are_refused(tickets: Tickets, tmp_path: Path) -> None:
    ticket = tickets.mint(WHO)
    where = only(tmp_path)
    os.chmod(where, 0o622)
    with pytest.raises(Refused):
        tickets.redeem(ticket)
    os.chmod(where, 0o600)
    assert tickets.redeem(ticket)
    elsewhere = tmp_path / "elsewhere"
    where.rename(elsewhere)
    where.symlink_to(elsewhere)
    with pytest.raises(Refused):
        tickets.redeem(ticket)


def test_too_many_tickets(tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.identity.tickets.MOST_TICKETS", 3)
    for _ in range(3):
        tickets.mint(WHO)
    with pytest.raises(ValueError, match="revoke"):
        tickets.mint(WHO)
