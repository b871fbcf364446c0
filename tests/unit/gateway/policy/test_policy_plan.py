"""Which column of a result gets which mask."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from policy_words import GIT, SQL, WHO, command, load, part, rule

from gateway.policy.detectors import screen
from gateway.policy.explain import explain
from gateway.policy.judge import judge
from gateway.policy.masks import build
from gateway.policy.policy import Policy
from gateway.policy.principal import Principal
from protocols.contract import Column, Mask, Plan, ProtocolKind, Refuse, Screen

KEY = b"0123456789abcdef"


def make(name: str, args: object, rule: str) -> Mask:
    assert isinstance(args, dict)
    return Mask(name, build(name, args, KEY), rule)


def plan(text: str, *columns: Column) -> Plan | Refuse:
    policy = load(text)
    return policy.plan(judge(command(part()), WHO, "prod-db", policy, None), columns, make)


def column(name: str, *origins: str) -> Column:
    return Column(name, "text", origins)


def masks(text: str, *columns: Column) -> list[tuple[str, str] | None]:
    made = plan(text, *columns)
    assert isinstance(made, Plan)
    return [None if m is None else (m.name, m.rule) for m in made.columns]


def one(columns: str, word: str = "redact", args: str = "") -> str:
    return f"mask = {{ columns = {columns}, with = '{word}'{args} }}"


@pytest.mark.parametrize(
    ("columns", "column_", "hit"),
    [
        ("'*.email'", column("x", "public.users.email"), True),
        ("'*.email'", column("email", "public.users.name"), False),
        ("'*.email'", column("email"), False),
        ("'public.users.email'", column("x", "public.users.email"), True),
        ("'public.users.email'", column("x", "hr.users.email"), False),
        ("'users.email'", column("x", "hr.users.email"), True),
        ("'public.pay.card_*'", column("x", "public.pay.card_no"), True),
        ("'public.pay.card_*'", column("x", "a.b.c", "public.pay.card_no"), True),
        ("'email'", column("x", "public.users.email"), True),
        ("'email'", column("email", "a.b.c"), True),
        ("'email'", column("email"), True),
        ("'column:email'", column("email"), True),
        ("'column:email'", column("x", "public.users.email"), False),
        ("['a.b', 'column:e*']", column("email"), True),
    ],
)
def test_columns(columns: str, column_: Column, hit: bool) -> None:
    assert masks(rule("m", "mask", one(columns)), column_) == [("redact", "m") if hit else None]


def test_of_several_masks_the_one_that_shows_least() -> None:
    text = (
        rule("a", "mask", one("'*.email'", "partial-email"))
        + rule("b", "mask", one("'email'", "hash"))
        + rule("c", "mask", one("'*.ssn'", "keep-last", ", args = { n = 2 }"))
    )
    cols = (column("x", "p.u.email"), column("y", "p.u.ssn"), column("z", "p.u.id"))
    assert masks(text, *cols) == [("hash", "b"), ("keep-last", "c"), None]
    made = plan(text, *cols)
    assert isinstance(made, Plan)
    assert made.withhold
    assert made.detect is None
    assert made.columns[1] is not None
    assert made.columns[1].apply(b"123456") == b"****56"


def test_an_unknown_origin_is_refused_or_masked_whole() -> None:
    unknown = Column("x", "text", None)
    refused = plan(rule("m", "mask", one("'*.email'")), unknown)
    assert isinstance(refused, Refuse)
    assert refused.rule == "m"
    text = rule("m", "mask", one("'*.email'", "hash"), "unresolved = 'mask'")
    assert masks(text, unknown) == [("redact", "m")]
    # A pattern on labels needs no origin.
    assert masks(rule("m", "mask", one("'column:email'")), unknown) == [None]
    # The strictest rule's word counts.
    both = text + rule("n", "mask", one("'*.ssn'"))
    assert isinstance(plan(both, unknown), Refuse)


def test_kinds_of_values_are_united_into_one_screen() -> None:
    asked: list[list[str]] = []

    def detect(kinds: Sequence[str]) -> Screen:
        asked.append(list(kinds))
        return screen(kinds)

    text = rule("a", "mask", "detect = ['email']") + rule("b", "mask", "detect = ['card', 'email']")
    policy = load(text)
    decision = judge(command(part()), WHO, "", policy, None)
    made = policy.plan(decision, (column("x"),), make, detect)
    assert isinstance(made, Plan)
    assert asked == [["card", "email"]]
    assert made.detect is not None
    assert made.detect.spans(b"to ann@example.com now") == [(3, 18)]
    assert isinstance(plan(text, Column("x", "text", None)), Plan)


def test_without_masks_all_is_shown_and_a_foreign_decision_is_refused() -> None:
    made = plan(rule("a", "allow"), column("a", "public.users.email"), Column("x", "t", None))
    assert made == Plan((None, None))
    decision = judge(command(part()), WHO, "", load(rule("m", "mask")), None)
    refused = load(rule("a", "allow")).plan(decision, (), make)
    assert isinstance(refused, Refuse)


def kind(**can: bool) -> ProtocolKind:
    return ProtocolKind(
        "toy",
        "sql",
        frozenset(),
        SQL,
        {},
        can["hold"],
        can["mask"],
        start=None,
        parts=None,  # type: ignore[arg-type]
    )


def test_a_target_whose_rules_its_protocol_cannot_carry_out() -> None:
    policy: Policy = load(
        rule("m", "mask", "target = 'prod-db'")
        + rule("h", "hold")
        + rule("s", "hold", "mode = 'shadow'")
        + rule("g", "hold", on='"git.*"')
    )
    assert policy.unenforceable("prod-db", kind(hold=True, mask=True)) == ""
    assert "rules h, m of" in policy.unenforceable("prod-db", kind(hold=False, mask=False))
    assert "rules h of" in policy.unenforceable("test-db", kind(hold=False, mask=False))
    assert policy.unenforceable("test-db", kind(hold=True, mask=False)) == ""
    assert GIT


def test_where_no_mask_can_apply() -> None:
    policy = load(
        rule("m", "mask", "target = 'prod-db'", "who = { kind = 'ci' }", "where.tables = 'x'")
        + rule("s", "mask", "mode = 'shadow'")
    )
    assert policy.masks_on("prod-db", WHO)
    assert not policy.masks_on("test-db", WHO)
    assert not policy.masks_on("prod-db", Principal("x", "y", "agent"))


STANDING = """
default = "allow"
[[rule]]
id = "m"
on = "sql.*"
who = { kind = "ci" }
where = { tables = "public.users" }
verdict = "mask"
mask = [{ columns = ["email", "*.phone"], with = "keep-last" }]
UNRESOLVED
"""


def standing(*columns: Column, unresolved: str = "", **facts: object) -> list[str] | str:
    policy = load(STANDING.replace("UNRESOLVED", unresolved))
    decision = judge(command(part("sql.select", **facts)), WHO, "prod-db", policy, None)
    found = policy.plan(decision, columns, make)
    if isinstance(found, Refuse):
        return found.rule
    return ["" if mask is None else mask.name for mask in found.columns]


def test_a_mask_rule_stands_for_its_data_under_other_names() -> None:
    view = column("e", "public.v.e", "public.users.email")
    other = column("email", "public.customers.email")
    for tables in (("public.v",), ("v", "customers"), ()):
        assert standing(view, other, tables=tables) == ["keep-last", ""]
    # Named, it masks what it always masked.
    assert standing(view, other, tables=("public.users",)) == ["keep-last", "keep-last"]
    assert standing(column("x"), tables=()) == [""]


def test_a_standing_rule_changes_nothing_but_the_plan() -> None:
    policy = load(STANDING.replace("UNRESOLVED", ""))
    asked = command(part("sql.select", tables=("public.v",)))
    decision = judge(asked, WHO, "prod-db", policy, None)
    assert (str(decision.verdict), decision.rules) == ("allow", ("default",))
    assert (decision.masks, decision.standing, decision.cacheable) == ((), ("m",), True)
    other = Principal("bob", "github", "person")
    assert judge(asked, other, "prod-db", policy, None).standing == ()
    assert judge(command(part("git.push")), WHO, "prod-db", policy, None).standing == ()
    told = explain(asked, WHO, "prod-db", policy, None)
    assert "stands" in told.text()
    assert told.to_dict()["standing"] == ["m"]


def test_what_is_unknown_may_come_from_the_data_of_a_standing_rule() -> None:
    unknown = Column("f", "text", None)
    assert standing(unknown, tables=("public.v",)) == "m"
    assert standing(unknown, tables=("v",), unresolved='unresolved = "mask"') == ["redact"]


def test_a_computed_column_is_masked_whole() -> None:
    computed = Column("upper", "text", ("public.users.id", "public.users.email"), exact=False)
    harmless = Column("sum", "numeric", ("public.orders.total",), exact=False)
    assert standing(computed, harmless, tables=("users",)) == ["redact", ""]
    assert masks(rule("m", "mask", one("'email'", "null")), computed) == [("null", "m")]
    for word in ("hash", "fixed-format", "partial-email"):
        assert masks(rule("m", "mask", one("'email'", word)), computed) == [("redact", "m")]
