"""Explain, the policy's own tests, and lint."""

from __future__ import annotations

import json

import pytest
from policy_words import AGENT, WHO, command, load, part, rule

from gateway.policy.explain import explain
from gateway.policy.lint import lint
from gateway.policy.suite import run_tests
from protocols.contract import Part

TEXT = (
    rule("b", "block", "where = { tables = 'hr.*' }", "message = 'no'")
    + rule("t", "allow", "target = 'test-db'")
    + rule("w", "allow", "who = { kind = 'agent' }")
    + rule("s", "block", "where = { has_where = false }", "mode = 'shadow'")
    + rule("g", "allow", on='"git.push"')
    + rule("m", "mask", "where = { tables = 'public.users' }")
    + rule("i", "allow", "where = { verb = 'x' }")
)


def test_explain_says_where_each_rule_stopped() -> None:
    it = part(tables=("public.users", "public.b"), has_where=False, verb="x\n")
    unsure = part("sql.call", complete=False, why="calls f", tables=("public.users",), verb="x")
    made = explain(command(it, unsure), WHO, "prod-db", load(TEXT), None)
    first = {row.rule: row for row in made.rows if row.part == 0}
    assert {name: (row.matched, row.failed) for name, row in first.items()} == {
        "b": (False, "where.tables"),
        "t": (False, "target"),
        "w": (False, "who.kind"),
        "s": (True, ""),
        "g": (False, "on"),
        "m": (True, ""),
        "i": (False, "where.verb"),
    }
    assert first["b"].value == ("public.users", "public.b")
    assert first["w"].value == "ci"
    assert "where.tables doesn't hold for all" in first["m"].note
    second = {row.rule: row for row in made.rows if row.part == 1}
    assert (second["i"].failed, second["i"].value) == ("incomplete", "calls f")
    assert "incomplete" in second["m"].note
    text = made.text()
    assert "- b [block, line 2] failed on where.tables: public.users, public.b" in text
    assert "+ s [block (shadow), line" in text
    assert "x\ufffd" in text
    assert text.startswith("block  by default, incomplete")
    shown = json.loads(json.dumps(made.to_dict()))
    assert shown["parts"][0]["tried"][0] == {
        "rule": "b",
        "line": 2,
        "verdict": "block",
        "mode": "enforce",
        "matched": False,
        "failed": "where.tables",
        "value": ["public.users", "public.b"],
        "note": "",
    }


def test_explain_agrees_with_the_decision() -> None:
    text = rule("h", "hold", "message = 'ask'") + rule("m", "mask")
    made = explain(command(part()), AGENT, "prod-db", load(text), None)
    assert "asks 1 of dba, for 1800 s (h)" in made.text()
    assert "masks by m" in made.text()
    assert made.to_dict()["approvals"] == [
        {"rule": "h", "groups": ["dba"], "count": 1, "ttl": 1800.0}
    ]


def parts_of(family: str, text: str) -> tuple[Part, ...]:
    assert family == "sql"
    return tuple(part(f"sql.{word}", has_where=False) for word in text.split())


CASES = rule("u", "block", "where.has_where = false", on='"sql.update"') + rule(
    "g", "hold", "who.groups = 'sre'", "where.ref = 'refs/heads/*'", on='"git.push"'
)
GOOD = [
    ("action = 'sql.update', sql = 'select update'", "verdict = 'block', rule = 'u'"),
    ("sql = 'select'", "verdict = 'deny', rule = 'default'"),
    ("sql = 'select'", "verdict = 'block', masks = [], shadow = []"),
    (
        "action = 'git.push', facts = { ref = 'refs/heads/x' }, "
        "principal = { kind = 'ci', sub = 'x', groups = ['sre'] }",
        "verdict = 'hold', rule = 'g'",
    ),
]
WRONG = [
    ("sql = 'select'", "verdict = 'allow'", "verdict allow expected, block came"),
    ("sql = 'update'", "verdict = 'deny'", "verdict deny expected, block came"),
    ("sql = 'update'", "rule = 'g'", "rule g expected, u came"),
    ("sql = 'update'", "masks = 'g'", "masks g expected, none came"),
    ("action = 'sql.update', sql = 'select'", "verdict = 'deny'", "the text is sql.select"),
    ("action = 'sql.update', sql = ''", "verdict = 'deny'", "the text is nothing"),
]


def case(given: str, expect: str) -> str:
    return f"[[test]]\nname = 'c'\ngiven = {{ {given} }}\nexpect = {{ {expect} }}\n"


def test_the_policy_s_own_tests_pass_and_cover() -> None:
    report = run_tests(load(CASES + "".join(case(*c) for c in GOOD)), parts_of)
    assert report.ok(), report.text()
    assert report.text().endswith("4 of 4 tests passed")


@pytest.mark.parametrize(("given", "expect", "why"), WRONG)
def test_a_failing_test_says_why(given: str, expect: str, why: str) -> None:
    policy = load(CASES + case(given, expect))
    report = run_tests(policy, parts_of)
    assert not report.ok(coverage=False)
    (outcome,) = report.outcomes
    assert why in outcome.why
    assert f"p.toml:{policy.tests[0].line}: " in report.text()


def test_a_rule_without_a_test_is_told() -> None:
    report = run_tests(load(CASES + case(*GOOD[0])), parts_of)
    assert report.ok(coverage=False)
    assert not report.ok()
    assert [name for name, _ in report.uncovered] == ["g"]
    # A test that fails covers nothing.
    report = run_tests(load(CASES + case("sql = 'update'", "masks = 'g'")), parts_of)
    assert [name for name, _ in report.uncovered] == ["g", "u"]


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        (rule("a", "allow"), 'rule "a": allows for everybody'),
        (rule("a", "allow"), "on every object of every target"),
        (rule("a", "allow", "who.kind = 'ci'"), "change every setting"),
        (rule("a", "mask"), "masks for everybody"),
        (rule("a", "mask"), "lets every command through"),
        (rule("b", "block"), 'no "message"'),
        ("[sets]\nx = ['a']", '2: set "x" is used nowhere'.replace("2", "3")),
        ('default = "allow"', 'default = "allow"'),
        ("", "everything is blocked"),
        (rule("a", "allow", "incomplete = true"), "may do anything"),
        (
            rule("b", "block", "message = 'x'") + rule("c", "block", "text = 'x'"),
            '"b" (line 2) matches all',
        ),
    ],
)
def test_lint_warns(text: str, piece: str) -> None:
    assert any(piece in str(concern) for concern in lint(load(text))), [*map(str, lint(load(text)))]


def test_lint_is_silent_on_a_careful_policy() -> None:
    text = (
        "[sets]\nx = ['public.a']\n"
        + rule("a", "allow", "who.kind = 'ci'", "where = { tables = '@x', sets = 'x' }")
        + rule("b", "block", "where.has_where = false", "message = 'no'")
    )
    assert lint(load(text)) == ()
