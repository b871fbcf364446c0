"""What a policy decides, and that nothing which doesn't count changes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_words import AGENT, WHO, command, load, part, rule

from gateway.policy.judge import judge
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from protocols.contract import Command, EffectKind, Parameter, Part, Phase

WRITE = EffectKind.WRITE
READ = EffectKind.READ


def verdict(text: str, *parts: Part, who: Principal = WHO, target: str = "prod-db") -> str:
    return str(judge(command(*parts), who, target, load(text), None).verdict)


def test_nothing_matches_is_a_block_by_default() -> None:
    decision = judge(command(part()), WHO, "prod-db", load(""), None)
    assert (decision.verdict, decision.rules) == (Verdict.BLOCK, ("default",))
    assert "sql.select" in decision.reason
    assert decision.cacheable


def test_no_parts_is_a_block_even_where_all_is_allowed() -> None:
    decision = judge(command(), WHO, "", load('default = "allow"\n' + rule("a", "allow")), None)
    assert (decision.verdict, decision.rules) == (Verdict.BLOCK, ("default",))


@pytest.mark.parametrize(
    ("text", "lets"),
    [
        ("", True),
        (" ;\n", True),
        ("-- a\n\n--b", True),
        ("/* a /* b */ ** c */;", True),
        ("x", False),
        ("\0", False),
        ("-- a\nx", False),
        ("/* a */ x", False),
        ("/* a", False),
        ("/*/" * 5000, False),
    ],
)
def test_a_blank_command_does_nothing_and_may(text: str, lets: bool) -> None:
    decision = judge(command(text=text), WHO, "", load(""), None)
    assert decision.verdict is (Verdict.ALLOW if lets else Verdict.BLOCK)
    assert decision.rules == ("default",)


def test_an_action_that_the_policy_never_heard_of_is_blocked() -> None:
    assert verdict(rule("a", "allow"), part("ldap.bind")) == "block"


ALL = {
    v: rule(v, v, f"where = {{ tables = 'public.{v}' }}")
    for v in ("allow", "mask", "hold", "block")
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("allow",), "allow"),
        (("mask",), "mask"),
        (("allow", "mask"), "mask"),
        (("allow", "hold"), "hold"),
        (("mask", "hold"), "hold"),
        (("hold", "block"), "block"),
        (("allow", "mask", "hold", "block"), "block"),
        (("allow", "other"), "block"),
    ],
)
def test_the_strongest_part_wins(names: tuple[str, ...], expected: str) -> None:
    parts = [part(tables=(f"public.{name}",)) for name in names]
    assert verdict("".join(ALL.values()), *parts) == expected
    assert verdict("".join(ALL.values()), *reversed(parts)) == expected


def test_masks_and_approvals_are_united_and_say_why() -> None:
    text = (
        rule("m2", "mask")
        + rule("m1", "mask", "detect = 'email'")
        + rule("h2", "hold", "message = 'two'")
        + rule("h1", "hold", "approve = { groups = ['sre'], count = 2, ttl = '5m' }")
    )
    decision = judge(command(part(), part()), WHO, "prod-db", load(text), None)
    assert decision.rules == ("h1", "h2")
    assert decision.masks == ("m1", "m2")
    assert [(n.rule, n.groups, n.count, n.ttl, n.reason) for n in decision.needs] == [
        ("h1", ("sre",), 2, 300.0, "held for approval by rule h1"),
        ("h2", ("dba",), 1, 1800.0, "two"),
    ]


# where ..., facts, matches in a rule that restricts, matches in one that permits
WHERE = [
    ("tables = 'public.users'", {"tables": ("public.users",)}, True, True),
    ("tables = 'public.users'", {"tables": ("public.orders",)}, False, False),
    ("tables = 'public.users'", {"tables": ("public.orders", "public.users")}, True, False),
    ("tables = 'public.*'", {"tables": ("public.orders", "public.users")}, True, True),
    ("tables = 'public.users'", {"tables": ()}, False, False),
    ("tables = 'public.users'", {"tables": None}, True, False),
    ("tables = 'public.users'", {}, True, False),
    # Not qualified: any schema restricts, only public permits.
    ("tables = 'public.users'", {"tables": ("users",)}, True, True),
    ("tables = 'hr.users'", {"tables": ("users",)}, True, False),
    ("tables = '*.users'", {"tables": ("users",)}, True, True),
    ("tables = 'users'", {"tables": ("public.users",)}, True, True),
    ("tables = 'users'", {"tables": ("hr.users",)}, True, False),
    ("tables = 'public.*'", {"tables": ("pg_authid",)}, True, False),
    ("tables = 'public.*'", {"tables": ("hr.pay",)}, False, False),
    # A whole schema other than public: else it would match every bare name.
    ("tables = 'hr.*'", {"tables": ("users",)}, False, False),
    ("tables = 'hr.u*'", {"tables": ("users",)}, True, False),
    ("reads_columns = 'hr.pay.*'", {"reads_columns": ("pay.sum",)}, True, False),
    ("reads_columns = 'hr.pay.*'", {"reads_columns": ("*.sum",)}, True, False),
    ("reads_columns = 'hr.*'", {"reads_columns": ("*.sum",)}, True, False),
    ("functions = 'lower'", {"functions": ("evil.lower",)}, True, False),
    ("functions = 'pg_catalog.lower'", {"functions": ("lower",)}, True, False),
    ("functions = 'public.lower'", {"functions": ("lower",)}, True, False),
    ("reads_columns = '*.email'", {"reads_columns": ("public.users.email",)}, True, True),
    ("reads_columns = '*.email'", {"reads_columns": ("email",)}, True, True),
    ("reads_columns = '*.email'", {"reads_columns": ("public.users.*",)}, True, False),
    ("reads_columns = 'public.users.email'", {"reads_columns": ("users.*",)}, True, False),
    ("reads_columns = 'public.users.email'", {"reads_columns": ("orders.*",)}, False, False),
    ("reads_columns = 'public.users.*'", {"reads_columns": ("public.users.*",)}, True, True),
    ("reads_columns = 'public.users.*'", {"reads_columns": ("users.email",)}, True, True),
    ("reads_columns = 'public.*'", {"reads_columns": ("hr.email",)}, False, False),
    # Said out loud, a quantifier is the same in both.
    ("tables = { any = 'a.b' }", {"tables": ("a.b", "c.d")}, True, True),
    ("tables = { all = 'a.b' }", {"tables": ("a.b", "c.d")}, False, False),
    ("tables = { all = 'a.b' }", {"tables": ()}, False, False),
    ("tables = { only = 'a.b' }", {"tables": ()}, True, True),
    ("tables = { only = 'a.b' }", {"tables": ("c.d",)}, False, False),
    ("tables = { only = [] }", {"tables": ()}, True, True),
    ("tables = { only = [] }", {"tables": ("c.d",)}, False, False),
    ("tables = { none = 'a.b' }", {"tables": ("c.d",)}, True, True),
    ("tables = { none = 'a.b' }", {"tables": ("a.b", "c.d")}, False, False),
    ("tables = { none = 'a.b' }", {"tables": ("b",)}, True, False),
    ("tables = { outside = 'a.*' }", {"tables": ("a.b", "c.d")}, True, True),
    ("tables = { outside = 'a.*' }", {"tables": ("a.b",)}, False, False),
    ("tables = { any = 'a.*', none = 'a.x' }", {"tables": ("a.b", "a.x")}, False, False),
    ("tables = { none = 'a.b' }", {"tables": None}, True, False),
    ("verb = 'sel*'", {"verb": "select"}, True, True),
    ("verb = ['x', 's*t']", {"verb": "select"}, True, True),
    ("verb = { none = 's*' }", {"verb": "select"}, False, False),
    ("verb = { any = '*', none = 'x' }", {"verb": "select"}, True, True),
    ("verb = 'x'", {}, True, False),
    ("has_where = false", {"has_where": False}, True, True),
    ("has_where = false", {"has_where": True}, False, False),
    ("has_where = false", {"has_where": None}, True, False),
    ("has_where = true", {}, True, False),
    ("statement_count = 2", {"statement_count": 2}, True, True),
    ("statement_count = [2, 3]", {"statement_count": 4}, False, False),
    ("statement_count = { min = 2, max = 3 }", {"statement_count": 3}, True, True),
    ("statement_count = { min = 2 }", {"statement_count": 1}, False, False),
    ("statement_count = { max = 2 }", {}, True, False),
    ("complete = true", {}, True, True),
    ("complete = false", {}, False, False),
]


@pytest.mark.parametrize(("where", "facts", "restricts", "permits"), WHERE)
def test_where_in_both_readings(where: str, facts: dict, restricts: bool, permits: bool) -> None:
    line = f"where = {{ {where} }}"
    it = part(**facts)
    assert (verdict(rule("b", "block", line) + _OPEN, it) == "block") is restricts
    assert (verdict(rule("a", "allow", line), it) == "allow") is permits
    assert (verdict(rule("h", "hold", line), it) == "hold") is restricts
    masked = judge(command(it), WHO, "prod-db", load(rule("m", "mask", line) + _OPEN), None)
    assert (masked.masks == ("m",)) is restricts
    assert (verdict(rule("m", "mask", line), it) == "mask") is (restricts and permits)


_OPEN = rule("open", "allow", on='"*"')


@pytest.mark.parametrize(
    ("line", "ci", "agent"),
    [
        ("who = { kind = 'ci' }", True, False),
        ("who = { kind = ['ci', 'agent'] }", True, True),
        ("who = { issuer = 'git*' }", True, False),
        ("who = { subject = ['ada', 'bob'] }", True, False),
        ("who = { run = '*' }", False, True),
        ("who = { groups = ['sre', 'dba'] }", False, True),
        ("who = { tags = { t = 'v*' } }", False, True),
        ("who = { claims = { ref = 'refs/heads/*' } }", True, False),
        ("who = { claims = { ref = '*', other = '*' } }", False, False),
        ("except = { groups = 'sre' }", True, False),
        ("except = { groups = 'sre', kind = 'person' }", True, True),
        ("who = { kind = 'agent' }\nexcept = { run = 'r1' }", False, False),
    ],
)
def test_who(line: str, ci: bool, agent: bool) -> None:
    policy_text = rule("a", "allow", line)
    blocked = rule("b", "block", line) + _OPEN
    for who, expected in ((WHO, ci), (AGENT, agent)):
        assert (verdict(policy_text, part(), who=who) == "allow") is expected
        assert (verdict(blocked, part(), who=who) == "block") is expected


def test_two_principals_with_one_policy_get_their_own_decisions() -> None:
    policy = load(rule("a", "allow", "who = { kind = 'ci' }"))
    for _ in range(3):
        for kind, expected in (("ci", Verdict.ALLOW), ("agent", Verdict.BLOCK)):
            who = Principal("x", "y", kind)
            assert judge(command(part()), who, "", policy, None).verdict is expected


@pytest.mark.parametrize(
    ("pattern", "expected"), [("prod-db", "allow"), ("test-db", "block"), ("*-db", "allow")]
)
def test_target(pattern: str, expected: str) -> None:
    assert verdict(rule("a", "allow", f"target = '{pattern}'"), part()) == expected


def test_effects_any_of_them_restricts_and_no_other_permits() -> None:
    both = part(effects=(READ, WRITE))
    assert verdict(rule("b", "block", "effects = 'write'") + _OPEN, both) == "block"
    assert verdict(rule("b", "block", "effects = 'grant'") + _OPEN, both) == "allow"
    assert verdict(rule("a", "allow", "effects = 'read'"), both) == "block"
    assert verdict(rule("a", "allow", "effects = ['read', 'write']"), both) == "allow"
    assert verdict(rule("a", "allow", "effects = 'read'"), part()) == "allow"


@pytest.mark.parametrize(
    ("text", "restricts", "permits"),
    [
        ("drop", True, True),
        ("x drop y", True, False),
        ("safe", False, False),
        ("\udcff", True, False),
    ],
)
def test_text_is_searched_to_restrict_and_whole_to_permit(
    text: str, restricts: bool, permits: bool
) -> None:
    it = command(part(), text=text)
    blocks = load(rule("b", "block", "text = ['nix', 'drop']") + _OPEN)
    assert (judge(it, WHO, "", blocks, None).verdict is Verdict.BLOCK) is restricts
    allows = load(rule("a", "allow", "text = ['nix', 'drop']"))
    assert (judge(it, WHO, "", allows, None).verdict is Verdict.ALLOW) is permits


T, B = "text", "binary"


@pytest.mark.parametrize(
    ("values", "restricts", "permits"),
    [
        ((), False, False),
        ((Parameter(b"42"),), True, True),
        ((Parameter(b"x42"),), True, False),
        ((Parameter(b"7"),), False, False),
        ((Parameter(b"7"), Parameter(b"42")), True, False),
        ((Parameter(None),), False, False),
        ((Parameter(b"42"), Parameter(None)), True, False),
        ((Parameter(b"\0\0\0*", B, "23"),), True, False),
        ((Parameter(b"7", B, "25"),), False, False),
        ((Parameter(b"42", B, "text"),), True, True),
        ((Parameter(b"\xff"),), True, False),
    ],
)
def test_parameters(values: tuple[Parameter, ...], restricts: bool, permits: bool) -> None:
    blocks = load(rule("b", "block", "parameters = '42'") + _OPEN)
    allows = load(rule("a", "allow", "parameters = '42'"))
    it = command(part(), parameters=values)
    blocked = judge(it, WHO, "", blocks, None)
    assert (blocked.verdict is Verdict.BLOCK) is restricts
    assert not blocked.cacheable
    assert (judge(it, WHO, "", allows, None).verdict is Verdict.ALLOW) is permits
    early = replace(it, phase=Phase.PREPARE, parameters=())
    assert judge(early, WHO, "", blocks, None).verdict is Verdict.ALLOW
    assert judge(early, WHO, "", allows, None).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("window", "now", "inside"),
    [
        ("hours = '08:00-17:00'", "2026-03-02T08:00:00+00:00", True),
        ("hours = '08:00-17:00'", "2026-03-02T17:00:00+00:00", False),
        ("hours = ['08:00-09:00', '16:00-24:00']", "2026-03-02T23:59:00+00:00", True),
        ("hours = '08:00-17:00', tz = 'Europe/Prague'", "2026-03-02T07:30:00+00:00", True),
        ("hours = '08:00-17:00', tz = 'Europe/Prague'", "2026-07-02T06:30:00+00:00", True),
        ("hours = '08:00-17:00', tz = 'Europe/Prague'", "2026-03-02T06:30:00+00:00", False),
        ("days = ['mon', 'tue']", "2026-03-02T12:00:00+00:00", True),
        ("days = 'sun'", "2026-03-02T12:00:00+00:00", False),
        ("days = 'mon', hours = '22:00-06:00'", "2026-03-02T23:00:00+00:00", True),
        ("days = 'mon', hours = '22:00-06:00'", "2026-03-03T05:59:00+00:00", True),
        ("days = 'mon', hours = '22:00-06:00'", "2026-03-02T05:59:00+00:00", False),
    ],
)
def test_when(window: str, now: str, inside: bool) -> None:
    line = f"when = {{ {window} }}"
    time = datetime.fromisoformat(now)
    allows = judge(command(part()), WHO, "", load(rule("a", "allow", line)), time)
    assert (allows.verdict is Verdict.ALLOW) is inside
    assert not allows.cacheable
    blocks = load(rule("b", "block", line) + _OPEN)
    assert (judge(command(part()), WHO, "", blocks, time).verdict is Verdict.BLOCK) is inside


def test_no_time_is_unknown() -> None:
    line = "when = { hours = '08:00-08:01' }"
    naive = datetime.fromisoformat("2026-03-02T12:00:00")
    for now in (None, naive):
        allows = load(rule("a", "allow", line))
        assert judge(command(part()), WHO, "", allows, now).verdict is Verdict.BLOCK
        blocks = load(rule("b", "block", line) + _OPEN)
        assert judge(command(part()), WHO, "", blocks, now).verdict is Verdict.BLOCK


def test_cacheable_while_a_volatile_rule_is_out_of_reach() -> None:
    text = rule("b", "block", "where = { verb = 'x' }", "parameters = 'y'") + _OPEN
    assert judge(command(part(verb="z")), WHO, "", load(text), None).cacheable
    assert not judge(command(part(verb="x")), WHO, "", load(text), None).cacheable


# -- what is not complete, and what was not understood

UNSURE = part("sql.call", complete=False, why="calls public.f()", tables=("a.b",))
UNPARSED = part("sql.unparsed", complete=False, why="syntax error")


@pytest.mark.parametrize(
    ("text", "it", "expected", "rules"),
    [
        (rule("a", "allow"), UNSURE, "block", ("incomplete",)),
        (rule("m", "mask"), UNSURE, "block", ("incomplete",)),
        ('default = "allow"', UNSURE, "block", ("incomplete",)),
        ("", UNSURE, "block", ("default",)),
        (rule("a", "allow", "incomplete = true"), UNSURE, "allow", ("a",)),
        (rule("m", "mask", "incomplete = true"), UNSURE, "mask", ("m",)),
        (rule("a", "allow", "where = { complete = false }"), UNSURE, "allow", ("a",)),
        (rule("h", "hold", "where = { complete = false }"), UNSURE, "hold", ("h",)),
        (rule("h", "hold", "where = { complete = false }") + _OPEN, part(), "allow", ("open",)),
        (
            rule("b", "block", "where = { tables = 'c.d' }") + _OPEN,
            UNSURE,
            "block",
            ("incomplete",),
        ),
        (
            rule("b", "block", "where = { tables = 'c.d' }")
            + rule("a", "allow", "incomplete = true"),
            UNSURE,
            "allow",
            ("a",),
        ),
        (rule("a", "allow"), UNPARSED, "block", ("default",)),
        (rule("a", "allow", "incomplete = true"), UNPARSED, "block", ("default",)),
        ('default = "allow"', UNPARSED, "block", ("default",)),
        (rule("a", "allow", on='"sql.unparsed"'), UNPARSED, "allow", ("a",)),
        (rule("a", "allow", on='["sql.call", "sql.unparsed"]'), UNSURE, "block", ("incomplete",)),
        (rule("h", "hold"), UNPARSED, "hold", ("h",)),
        (rule("b", "block", "where = { tables = 'x' }"), UNPARSED, "block", ("b",)),
    ],
)
def test_what_is_unknown(text: str, it: Part, expected: str, rules: tuple[str, ...]) -> None:
    decision = judge(command(it), WHO, "prod-db", load(text), None)
    assert (str(decision.verdict), decision.rules) == (expected, rules)
    if rules == ("incomplete",):
        assert "calls public.f()" in decision.reason


def test_shadow_is_told_and_not_enforced() -> None:
    text = (
        rule("b", "block", "mode = 'shadow'")
        + rule("s", "allow", "mode = 'shadow'", on='"sql.call"')
        + rule("a", "allow", on='"sql.select"')
    )
    decision = judge(command(part()), WHO, "", load(text), None)
    assert (str(decision.verdict), decision.shadow) == ("allow", ("b",))
    decision = judge(command(part("sql.call")), WHO, "", load(text), None)
    assert (str(decision.verdict), decision.shadow) == ("block", ("b", "s"))


def test_messages_are_filled_in_and_made_harmless() -> None:
    line = "message = '{verb} on {tables} by {principal} at {target} ({action}, {rule}, {{x}})'"
    it = part(verb="\x1b[31m", tables=("a", "b"))
    decision = judge(command(it), WHO, "prod-db", load(rule("b", "block", line)), None)
    assert decision.reason == "\ufffd[31m on a, b by ada at prod-db (sql.select, b, {x})"
    it = part(tables=("x" * 5000,))
    decision = judge(command(it), WHO, "prod-db", load(rule("b", "block", line)), None)
    assert "(unknown)" in decision.reason
    assert len(decision.reason) < 400


def test_a_block_without_a_message_leaves_its_id_to_the_protocol() -> None:
    decision = judge(command(part()), WHO, "prod-db", load(rule("b", "block")), None)
    assert (decision.rules, decision.reason) == (("b",), "")


# -- laws

TABLES = st.sampled_from(("public.a", "public.b", "b", "c.*", "c.d"))
PATTERNS = st.sampled_from(("public.a", "public.*", "*", "b", "*.b", "c.d", "*.d*"))
ACTS = st.sampled_from(("sql.select", "sql.delete", "sql.unparsed"))


@st.composite
def rules(draw: st.DrawFn, name: str = "r", verdicts: tuple[str, ...] = tuple(ALL)) -> str:
    lines = []
    if draw(st.booleans()):
        lines.append(f"where.tables = '{draw(PATTERNS)}'")
    if draw(st.booleans()):
        lines.append(f"where.has_where = {str(draw(st.booleans())).lower()}")
    if draw(st.booleans()):
        lines.append(f"who.kind = '{draw(st.sampled_from(('ci', 'agent')))}'")
    if draw(st.booleans()):
        lines.append("mode = 'shadow'")
    on = draw(st.sampled_from(('"sql.*"', '"sql.select"', '["sql.delete", "sql.unparsed"]')))
    # Different texts keep the rules from being refused as twins.
    lines.append(f"text = ['the', '{name}']")
    return rule(name, draw(st.sampled_from(verdicts)), *lines, on=on)


@st.composite
def commands(draw: st.DrawFn) -> Command:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        facts: dict = {}
        if draw(st.booleans()):
            facts["tables"] = draw(st.one_of(st.none(), st.lists(TABLES, max_size=2).map(tuple)))
        if draw(st.booleans()):
            facts["has_where"] = draw(st.sampled_from((True, False, None)))
        made.append(part(draw(ACTS), complete=draw(st.booleans()), **facts))
    return command(*made)


@st.composite
def many(draw: st.DrawFn, most: int = 16) -> list[str]:
    return [draw(rules(f"r{n}")) for n in range(draw(st.integers(0, most)))]


@given(many(), commands(), st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(texts: list[str], it: Command, chance) -> None:  # type: ignore[no-untyped-def]
    shuffled = texts.copy()
    chance.shuffle(shuffled)
    one = judge(it, WHO, "prod-db", load("".join(texts)), None)
    assert judge(it, WHO, "prod-db", load("".join(shuffled)), None) == one


@given(many(), rules("extra", ("block",)), commands())
def test_one_more_block_rule_never_weakens(texts: list[str], extra: str, it: Command) -> None:
    before = judge(it, WHO, "prod-db", load("".join(texts)), None)
    after = judge(it, WHO, "prod-db", load("".join(texts) + extra), None)
    assert after.verdict >= before.verdict


@given(many(), rules("extra", ("allow",)), commands())
def test_one_more_allow_rule_lifts_nothing_but_the_default(
    texts: list[str], extra: str, it: Command
) -> None:
    before = judge(it, WHO, "prod-db", load("".join(texts)), None)
    after = judge(it, WHO, "prod-db", load("".join(texts) + extra), None)
    if set(before.rules).isdisjoint({"default", "incomplete"}):
        assert after.verdict is before.verdict
        assert after.masks == before.masks


@given(many(), commands())
def test_forgetting_a_fact_never_lets_more_through(texts: list[str], it: Command) -> None:
    policy = load("".join(texts))
    before = judge(it, WHO, "prod-db", policy, None)
    blind = replace(it, parts=tuple(replace(p, facts={}) for p in it.parts))
    after = judge(blind, WHO, "prod-db", policy, None)
    # A hold that matches what is unknown may stand in for a refusal by default.
    if before.verdict is Verdict.BLOCK and after.verdict is not Verdict.BLOCK:
        assert after.verdict is Verdict.HOLD
        assert set(before.rules) <= {"default", "incomplete"}
    else:
        assert after.verdict >= before.verdict


@given(
    st.lists(st.tuples(st.sampled_from(tuple(ALL)), PATTERNS), min_size=13, max_size=30), commands()
)
def test_looking_rules_up_by_name_finds_what_trying_each_finds(
    picks: list[tuple[str, str]], it: Command
) -> None:
    texts = [
        rule(f"r{n}", v, f"where.tables = '{p}'", f"text = ['the', 'x{n}']")
        for n, (v, p) in enumerate(picks)
    ]
    found = judge(it, WHO, "", load("".join(texts)), None)
    with patch("gateway.policy.policy.FEW", 1000):
        assert judge(it, WHO, "", load("".join(texts)), None) == found


def test_a_name_that_may_be_any_name_finds_rules_that_are_looked_up() -> None:
    text = "".join(
        rule(f"r{n}", "block", f"where.reads_columns = 'public.users.c{n}'") for n in range(20)
    )
    it = command(part(reads_columns=("users.*",)))
    assert len(judge(it, WHO, "", load(text + _OPEN), None).rules) == 20


def test_what_is_kept_for_a_principal_is_not_given_to_another_at_its_place() -> None:
    policy = load(rule("a", "allow", "who = { kind = 'ci' }"))
    assert judge(command(part()), WHO, "", policy, None).verdict is Verdict.ALLOW
    kept = policy._ready["sql.select", "", id(WHO)]
    policy._ready["sql.select", "", id(AGENT)] = kept
    assert judge(command(part()), AGENT, "", policy, None).verdict is Verdict.BLOCK
