"""Held commands and the people who decide them, through the command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack import Stack

from gateway.demo.issuer import DemoIssuer

HOLDS = """
version = 1
default = "deny"

[[rule]]
id = "reads"
on = ["sql.select", "sql.transaction", "sql.show"]
verdict = "allow"

[[rule]]
id = "changes"
on = ["sql.update", "sql.insert", "sql.delete"]
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "TTL" }
message = "a change needs a dba"
"""


def holds(ttl: str = "10m", count: int = 1) -> str:
    return HOLDS.replace("TTL", ttl).replace("count = 1", f"count = {count}")


def approvals(stack: Stack, *, everything: bool = False) -> list[dict[str, Any]]:
    return stack.approvals(everything=everything)


def held(stack: Stack, seconds: float = 15.0) -> dict[str, Any]:
    """The one command that waits."""
    return stack.held(seconds)


def decide(
    stack: Stack, verb: str, approval: str, token: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """``gateway approvals approve|deny`` as whoever ``token`` is."""
    return stack.gateway(
        "approvals", verb, approval, *more, env=os.environ | {"WIREWARDEN_TOKEN": token}
    )


def dba(stack: Stack, subject: str = "dana", **claims: object) -> str:
    """A token of a person who may approve."""
    people: DemoIssuer = stack.people  # type: ignore[attr-defined]
    return people.token(subject, **{"groups": ["dba"], **claims})


def with_people(started: Callable[..., Stack], folder: Path, server: Any, **more: Any) -> Stack:
    """A gateway that knows an issuer of people beside that of agents."""
    issuer = DemoIssuer(folder, iss="https://people.demo.invalid")
    extra = f'''
[issuer.people]
iss = "{issuer.iss}"
audience = "{issuer.audience}"
algorithms = ["ES256"]
jwks = "{issuer.jwks}"
kind = "person"
'''
    stack = started(server, extra=extra + more.pop("extra", ""), **more)
    stack.people = issuer  # type: ignore[attr-defined]
    return stack


def rows(stack: Stack, database: str, text: str) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(stack.server.dsn(database)) as connection:
        return list(connection.execute(text.encode()).fetchall())
