"""Who may come in, and to which database."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.addresses import Address
from gateway.config import TargetConfig
from gateway.policy.principal import Principal
from gateway.targets import Target, TargetRefused, split_request


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Target]:
    monkeypatch.setattr("protocols.load", lambda name: SimpleNamespace(name=name))

    def build(**change: Any) -> Target:
        fields: dict[str, Any] = {
            "name": "prod-db",
            "protocol": "postgres",
            "upstream": Address("db.example", 5432),
            "user": "app",
            "password": None,
            "database": "app",
            **change,
        }
        return Target(TargetConfig(**fields), [Address("0.0.0.0", 6432)])

    return build


def test_databases(make: Callable[..., Target]) -> None:
    target = make(databases=("report_*", "x"))
    for asked in ("", "prod-db", "app", "prod-db/app", "prod-db/"):
        assert target.choose(asked) == "app"
    assert target.choose("report_1") == target.choose("prod-db/report_1") == "report_1"
    for asked in ("postgres", "App", "report", "prod-db/prod-db/app", "app ", "xx", "other/app"):
        with pytest.raises(TargetRefused, match="no such database"):
            target.choose(asked)


def test_no_default_database(make: Callable[..., Target]) -> None:
    target = make(database="", databases=("*",))
    assert target.choose("any") == "any"
    for asked in ("", "prod-db"):
        with pytest.raises(TargetRefused, match="ask for"):
            target.choose(asked)


def test_no_database_at_all_is_the_upstreams_default(make: Callable[..., Target]) -> None:
    target = make(database="")
    assert target.choose("") == target.choose("prod-db") == ""
    with pytest.raises(TargetRefused):
        target.choose("app")


def test_groups(make: Callable[..., Target]) -> None:
    stranger, member = Principal("a", "i"), Principal("b", "i", groups=frozenset({"dba"}))
    make().admit(stranger)
    closed = make(groups=frozenset({"dba", "sre"}))
    closed.admit(member)
    with pytest.raises(TargetRefused) as caught:
        closed.admit(stranger)
    assert str(caught.value) == 'there is no target "prod-db" for you'


def test_row_88_after_the_name_resolved(make: Callable[..., Target]) -> None:
    target = make()
    assert target.why_not("10.1.2.3") == ""
    assert target.why_not("169.254.169.254")
    assert target.why_not("127.0.0.1")
    assert make(upstream=Address("127.0.0.1", 6432)).why_not("127.0.0.1")
    assert make(upstream=Address("127.0.0.1", 6433)).why_not("127.0.0.1") == ""


def test_requests_split_at_the_first_slash() -> None:
    assert split_request("t") == ("t", "")
    assert split_request("t/d") == ("t", "d")
    assert split_request("t/d/e") == ("t", "d/e")
    assert split_request("") == ("", "")
