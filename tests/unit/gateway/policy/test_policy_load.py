"""Every error of a policy names its line, its key and the nearest valid word."""

from __future__ import annotations

import pytest
from policy_words import ACTIONS, load, rule

from gateway.policy.load import PolicyErrors, compile_policy

ALLOW = '[[rule]]\nid = "a"\non = "sql.select"\nverdict = "allow"\n'
HOLD = '[[rule]]\nid = "h"\non = "sql.select"\nverdict = "hold"\n'
MASK = '[[rule]]\nid = "m"\non = "sql.select"\nverdict = "mask"\n'

# Text after the line `version = 1`, then line, key and a piece of the message.
BAD = [
    ('defualt = "deny"', 2, "defualt", 'did you mean "default"?'),
    ('default = "hold"', 2, "default", "known: allow, deny"),
    ("[sets]\na = []", 3, "sets.a", "empty list"),
    ("[sets]\na = [1]", 3, "sets.a[0]", "must be a string"),
    ("rule = 3", 2, "rule", "array of tables"),
    ("[[rule]]\non = 'sql.select'\nverdict = 'allow'", 2, "rule[0]", '"id"'),
    ("[[rule]]\nid = 'x'\nverdict = 'allow'", 2, "rule[0]", '"on"'),
    ("[[rule]]\nid = 'x'\non = 'sql.select'", 2, "rule[0]", '"verdict"'),
    ("[[rule]]\nid = 'default'\non = 'sql.select'\nverdict = 'allow'", 3, "rule[0].id", "can't"),
    (
        ALLOW + ALLOW.replace("select", "update"),
        7,
        "rule[1].id",
        "line 3",
    ),
    (ALLOW + 'wehre = { verb = "x" }', 6, "rule[0].wehre", 'did you mean "where"?'),
    (ALLOW + 'where = { tabels = "x" }', 6, "rule[0].where.tabels", 'did you mean "tables"?'),
    (ALLOW + "where = {}", 6, "rule[0].where", "says nothing"),
    (ALLOW + 'where = { ref = "x" }', 6, "rule[0].where.ref", 'unknown fact "ref"'),
    (ALLOW + 'where = { has_where = "x" }', 6, "rule[0].where.has_where", "true or false"),
    (ALLOW + 'where = { statement_count = "x" }', 6, "rule[0].where.statement_count", "number"),
    (ALLOW + "where = { statement_count = {} }", 6, "rule[0].where.statement_count", "min or max"),
    (
        ALLOW + "where = { statement_count = { min = 3, max = 2 } }",
        6,
        "rule[0].where.statement_count",
        "can never match",
    ),
    (
        ALLOW + "where = { statement_count = { mni = 3 } }",
        6,
        "rule[0].where.statement_count.mni",
        'did you mean "min"?',
    ),
    (
        ALLOW + "[rule.where]\ntables = [\n 'a',\n '@pii',\n]",
        9,
        "rule[0].where.tables[1]",
        '"@pii"',
    ),
    (ALLOW + "where = { tables = [] }", 6, "rule[0].where.tables", "empty list can never match"),
    (ALLOW + "where = { tables = '' }", 6, "rule[0].where.tables", "empty pattern"),
    (ALLOW + "where = { tables = 'a?' }", 6, "rule[0].where.tables", "wildcard"),
    (ALLOW + "where = { tables = 'a**' }", 6, "rule[0].where.tables", "no meaning"),
    (ALLOW + "where = { tables = { nay = 'a' } }", 6, "rule[0].where.tables.nay", '"any"?'),
    (
        ALLOW + "where = { tables = { any = 'a.b', none = 'a.*' } }",
        6,
        "rule[0].where.tables.any",
        "can never match",
    ),
    (
        ALLOW + "where = { tables = { only = 'a.b', outside = 'a.*' } }",
        6,
        "rule[0].where.tables.outside",
        "can never match",
    ),
    (ALLOW.replace("sql.select", "sql.selekt"), 4, "rule[0].on", 'did you mean "sql.select"?'),
    (ALLOW.replace("sql.select", "ssh.*"), 4, "rule[0].on", "unknown action"),
    (ALLOW.replace('"sql.select"', "[]"), 4, "rule[0].on", "empty list"),
    (ALLOW.replace('"allow"', '"alow"'), 5, "rule[0].verdict", 'did you mean "allow"?'),
    (ALLOW + "who = { kind = 'robot' }", 6, "rule[0].who.kind", "unknown kind of principal"),
    (ALLOW + "who = { groups = ['dbas'] }", 6, "rule[0].who.groups[0]", 'did you mean "dba"?'),
    (ALLOW + "who = { grups = ['dba'] }", 6, "rule[0].who.grups", 'did you mean "groups"?'),
    (ALLOW + "who = {}", 6, "rule[0].who", "says nothing"),
    (ALLOW + "except = { groups = ['nobody'] }", 6, "rule[0].except.groups[0]", "unknown group"),
    (ALLOW + "target = 'prod-bd'", 6, "rule[0].target", 'did you mean "prod-db"?'),
    (ALLOW + "effects = ['raed']", 6, "rule[0].effects[0]", 'did you mean "read"?'),
    (ALLOW + "text = '('", 6, "rule[0].text", "RE2 refuses"),
    (ALLOW + "text = '(?=a)'", 6, "rule[0].text", "RE2 refuses"),
    (ALLOW + "parameters = ['a', '[']", 6, "rule[0].parameters[1]", "RE2 refuses"),
    (ALLOW + "when = { hours = '8-17' }", 6, "rule[0].when.hours", "no window"),
    (ALLOW + "when = { hours = '08:00-08:00' }", 6, "rule[0].when.hours", "can never match"),
    (ALLOW + "when = { days = 'monday' }", 6, "rule[0].when.days", "unknown day"),
    (
        ALLOW + "when = { days = 'mon', tz = 'Mars/Base' }",
        6,
        "rule[0].when.tz",
        "unknown time zone",
    ),
    (ALLOW + "when = { tz = 'UTC' }", 6, "rule[0].when", "needs days or hours"),
    (ALLOW + "when = 'cel'", 6, "rule[0].when", "must be a table"),
    (ALLOW + "mode = 'shadwo'", 6, "rule[0].mode", 'did you mean "shadow"?'),
    (ALLOW + "message = 'on {tabels}'", 6, "rule[0].message", 'did you mean "tables"?'),
    (ALLOW + "message = 'on {tables'", 6, "rule[0].message", "no valid template"),
    (ALLOW + "message = 'on {tables.x}'", 6, "rule[0].message", "no plain placeholder"),
    (ALLOW + "approve = { groups = ['dba'] }", 6, "rule[0].approve", 'verdict = "hold"'),
    (ALLOW + "detect = 'email'", 6, "rule[0].detect", 'verdict = "mask"'),
    (
        ALLOW + "incomplete = true\nwhere = { complete = true }",
        6,
        "rule[0].incomplete",
        "contradicts",
    ),
    (HOLD, 2, "rule[0]", 'needs "approve"'),
    (HOLD + "incomplete = true\napprove = {groups='dba'}", 6, "rule[0].incomplete", "permit"),
    (HOLD + "approve = {}", 6, "rule[0].approve", 'needs "groups"'),
    (HOLD + "approve = { groups = 'xyz' }", 6, "rule[0].approve.groups", "unknown group"),
    (HOLD + "approve = { groups = 'dba', count = 0 }", 6, "rule[0].approve.count", "from 1 to 20"),
    (HOLD + "approve = { groups = 'dba', count = true }", 6, "rule[0].approve.count", "whole"),
    (HOLD + "approve = { groups = 'dba', ttl = '30' }", 6, "rule[0].approve.ttl", "span of time"),
    (
        HOLD + "approve = { groups = 'dba', not_requester = false }",
        6,
        "rule[0].approve.not_requester",
        "nobody may approve",
    ),
    (HOLD + "approve = { groups = 'dba', bind = ['x'] }", 6, "rule[0].approve.bind[0]", "fact"),
    (MASK, 2, "rule[0]", '"mask" or "detect"'),
    (MASK + "detect = 'emial'", 6, "rule[0].detect", 'did you mean "email"?'),
    (MASK + "mask = []", 6, "rule[0].mask", "says nothing"),
    (MASK + "mask = [\n { columns = 'a' },\n]", 7, "rule[0].mask[0]", 'needs "with"'),
    (MASK + "mask = { columns = 'a', with = 'redcat' }", 6, "rule[0].mask.with", '"redact"?'),
    (
        MASK + "mask = { columns = 'a', with = 'keep-last', args = { n = 'x' } }",
        6,
        "rule[0].mask.args",
        "n must be",
    ),
    (MASK + "mask = { columns = '', with = 'hash' }", 6, "rule[0].mask.columns", "empty pattern"),
    (MASK + "detect = 'email'\nunresolved = 'show'", 7, "rule[0].unresolved", "block, mask"),
    ("[[test]]\nexpect = { rule = 'default' }", 2, "test[0]", 'needs "given"'),
    (
        "[[test]]\ngiven = { sql = 'x' }\nexpect = { rule = 'nope' }",
        4,
        "test[0].expect.rule",
        "unknown rule",
    ),
    ("[[test]]\ngiven = { sql = 'x' }\nexpect = {}", 4, "test[0].expect", "expects nothing"),
    (
        "[[test]]\ngiven = { sql = 'x', now = '2026-01-01' }\nexpect = { verdict = 'deny' }",
        3,
        "test[0].given.now",
        "with a zone",
    ),
    (
        "[[test]]\n"
        "given = { action = 'git.push', facts = { rfe = 'x' } }\nexpect = { rule = 'default' }",
        3,
        "test[0].given.facts.rfe",
        'did you mean "ref"?',
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "message"), BAD)
def test_each_error_names_its_place(text: str, line: int, key: str, message: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load(text)
    (error,) = caught.value.errors
    assert (error.source, error.line, error.key) == ("p.toml", line, key)
    assert message in error.message
    assert str(error).startswith(f"p.toml:{line}: {key}: ")


# Rules that can't do anything: the first text is fine alone.
HIDDEN = [
    (rule("b", "block"), rule("a", "allow"), "can never decide"),
    (rule("b", "block"), rule("h", "hold", "where = { verb = 'x' }"), "this block rule"),
    (rule("h", "hold"), rule("a", "allow", "where = { tables = 'x' }"), "this hold rule"),
    (
        rule("b", "block", "where = { tables = 'public.*' }"),
        rule("a", "allow", "where = { tables = ['public.a', 'public.b'] }", on='"sql.select"'),
        "whatever it matches",
    ),
    (
        rule("b", "block", "who = { groups = ['dba', 'sre'] }", "target = '*-db'"),
        rule("m", "mask", "who = { groups = 'sre', kind = 'ci' }", "target = 'prod-db'"),
        "whatever it matches",
    ),
    (
        rule("b", "block", "where = { statement_count = { min = 2 } }"),
        rule("a", "allow", "where = { statement_count = { min = 3, max = 9 } }"),
        "whatever it matches",
    ),
    (rule("a", "allow", "where={verb='x'}"), rule("b", "allow", "where={verb=['x']}"), "exactly"),
    (rule("b", "block", "text='x'"), rule("c", "block", "text='x'"), "exactly the same as"),
    (
        rule("a", "mask", on='"sql.select"'),
        rule("b", "allow", on='"sql.select"'),
        "just what this does",
    ),
    (rule("h", "hold"), rule("i", "hold"), "exactly the same as"),
    (rule("m", "mask"), rule("n", "mask"), "exactly the same as"),
]


@pytest.mark.parametrize(("broad", "thin", "message"), HIDDEN)
@pytest.mark.parametrize("first", [True, False])
def test_a_rule_that_can_do_nothing_is_refused(
    broad: str, thin: str, message: str, first: bool
) -> None:
    load(broad)
    load(thin)
    with pytest.raises(PolicyErrors) as caught:
        load(broad + thin if first else thin + broad)
    (error,) = caught.value.errors
    assert message in error.message
    twins = "exactly" in message
    assert error.line == (2 + broad.count("\n") if first else 2 + twins * thin.count("\n"))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (rule("b", "block", "where = { tables = 'public.a' }"), rule("a", "allow")),
        (rule("b", "block", "mode = 'shadow'"), rule("a", "allow")),
        (rule("b", "block"), rule("a", "allow", "mode = 'shadow'")),
        (rule("b", "block", "effects = 'read'"), rule("a", "allow", "effects = 'read'")),
        (rule("b", "block", "parameters = 'x'"), rule("a", "allow", "parameters = 'x'")),
        (rule("b", "block", "text = 'x'"), rule("a", "allow", "text = 'xy'")),
        (rule("b", "block", on='"sql.select"'), rule("a", "allow")),
        (rule("h", "hold"), rule("i", "hold", "approve = { groups = 'sre' }")),
        (rule("h", "hold"), rule("m", "mask")),
        (rule("m", "mask"), rule("n", "mask", "detect = 'email'")),
        (rule("b", "block", "except = { groups = 'sre' }"), rule("a", "allow")),
        (
            rule("b", "block", "where = { tables = 'u*' }"),
            rule("h", "hold", "where = { tables = 'public.users' }"),
        ),
    ],
)
def test_a_rule_that_may_still_do_something_is_kept(one: str, two: str) -> None:
    load(one + two)


def test_all_errors_come_at_once_in_line_order() -> None:
    text = ALLOW + "mdoe = 'x'\ntarget = 'nowhere'\nwhere = { verbs = 'x', tables = '@y' }"
    with pytest.raises(PolicyErrors) as caught:
        load(text + "\n[sets]\nz = 3\n")
    assert [error.line for error in caught.value.errors] == [6, 7, 8, 8, 10]


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("[sets]\n", 1), ("version = 2", 1), ("a = 1\nversion = = 1", 2)]
)
def test_without_a_version_or_with_broken_toml_nothing_loads(text: str, line: int) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load(text, version=False)
    assert caught.value.errors[0].line == line


def test_the_version_is_of_the_rules_and_not_of_their_order_layout_or_tests() -> None:
    a, b = rule("a", "allow"), rule("b", "block", "text = 'x'")
    test = "[[test]]\ngiven = { sql = 'x' }\nexpect = { verdict = 'deny' }\n"
    versions = {load(text).version for text in (a + b, b + a, f"# note\n{a}\n\n{b}{test}")}
    assert len(versions) == 1
    assert load(a).version not in versions
    assert len(versions.pop()) == 64


def test_unchecked_groups_and_targets_may_be_anything() -> None:
    text = "version = 1\n" + rule("a", "allow", "target = 'x'", "who = { groups = 'y' }")
    compile_policy(text, source="p", actions=ACTIONS)
