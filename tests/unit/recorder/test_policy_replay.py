"""``gateway policy replay``: recorded commands under another policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, World, header, make_journal

from gateway.cli import main
from gateway.commands.policy_replay import git_line
from gateway.policy.verdicts import Verdict
from protocols import load
from recorder.cli import main as recorder
from recorder.records import Event

POLICY = """
version = 1
[[rule]]
id = "reads"
on = "sql.select"
verdict = "allow"
[[rule]]
id = "ci-writes"
on = ["sql.update", "sql.delete"]
who = { kind = "ci", groups = "dev" }
verdict = "allow"
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    world = World()
    journal = make_journal(tmp_path / "state", world, sealer=True)
    for number, group in enumerate(("dev", "ops")):
        log = journal.open(header(ULIDS[number]))
        who = {"subject": f"ci-{group}", "issuer": "github", "kind": "ci", "groups": {group}}
        log.event("identity", {**who, "run": f"run-{group}", "tags": {}})
        log.event("destination", {"target": "prod-db"})
        log.command(1, "run", "select 1", Verdict.ALLOW, ("all",), "", "old")
        log.command(2, "run", "update t set a = $1", Verdict.ALLOW, ("all",), "", "old",
                    parameters=["int4:00000007"])  # fmt: skip
        log.command(3, "run", "drop table t", Verdict.BLOCK, ("no-drops",), "no", "old")
        log.end("closed", "done")
        journal.flush()
    journal.close()
    return tmp_path / "state"


def replayed(
    state: Path, policy: str, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, list[dict[str, Any]]]:
    path = state.parent / "new.toml"
    path.write_text(policy)
    code = main(["policy", "replay", str(path), "--dir", str(state), "--json", *options])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_changes_is_told_with_both_verdicts(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = replayed(state, POLICY, capsys)
    assert code == 5
    (item,) = told[:-1]  # ops may not write any more; the drop stays blocked
    assert item["session"] == ULIDS[1]
    assert item["old"] == {"verdict": "allow", "rules": ["all"], "masks": []}
    assert item["new"]["verdict"] == "block"
    assert item["new"]["rules"] == ["default"]
    assert told[-1]["sessions"] == 2
    assert told[-1]["commands"] == 6
    assert told[-1]["ways"] == {"allow -> block": 1}


def test_a_summary_tells_what_fares_alike_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = make_journal(tmp_path / "state", World(), sealer=True)
    for number in range(3):
        log = journal.open(header(ULIDS[number]))
        log.event("identity", {"subject": "ci", "kind": "ci", "groups": {"dev"}, "tags": {}})
        log.event("destination", {"target": "prod-db"})
        for n in range(4):
            text = f"select a from t where id = {number}{n} and s = 'it''s {n}'"
            log.command(n, "run", text, Verdict.BLOCK, ("no",), "", "old")
            log.command(9, "run", f"drop table t{n}", Verdict.ALLOW, ("all",), "", "old")
            log.command(8, "run", "drop table u", Verdict.ALLOW, ("all",), "", "old")
        log.end("closed", "done")
        journal.flush()
    journal.close()
    code, told = replayed(tmp_path / "state", POLICY, capsys, "--summary")
    assert code == 5
    groups = [g for g in told if g["schema"] == "wirewarden.policy-replay-group/1"]
    # What would be let through now comes first; t0 to t3 are names, not values.
    assert [(g["count"], g["sessions"], g["old"]["verdict"], g["new"]["verdict"])
            for g in groups] == [(12, 3, "block", "allow"), (12, 3, "allow", "block"),
                                 *[(3, 3, "allow", "block")] * 4]  # fmt: skip
    assert groups[0]["text"] == "select a from t where id = 00 and s = 'it''s 0'"
    assert groups[1]["text"] == "drop table u"
    assert told[-1]["changed"] == 36


def test_sessions_can_be_named_or_chosen(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (("--session", ULIDS[0]), ("--run", "run-dev"), ("--principal", "ci-dev")):
        code, told = replayed(state, POLICY, capsys, *options)
        assert code == 0, options
        assert told[-1]["sessions"] == 1
    code, told = replayed(state, POLICY, capsys, "--run", "run-ops")
    assert code == 5


def test_parameters_are_facts_again(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = (
        POLICY.replace(', groups = "dev"', "")
        + """
[[rule]]
id = "drops"
on = "sql.drop"
incomplete = true
verdict = "allow"
"""
    )
    code, told = replayed(state, everything, capsys)
    assert code == 5
    assert {(i["old"]["verdict"], i["new"]["verdict"]) for i in told[:-1]} == {("block", "allow")}


def test_a_policy_that_does_not_load_fails(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replayed(state, POLICY + "nonsense = 1\n", capsys)[0] == 1


def test_a_push_is_judged_by_its_events() -> None:
    push = {"repository": "org/repo", "ref": "refs/heads/a;b c", "old": "1" * 40, "new": "2" * 40,
            "update": "force", "forced": True, "commits": 1, "lost": 2}  # fmt: skip
    line = git_line("push to org/repo: ...", [Event("push", push)])
    (part,) = load("git-ssh").parts(line)
    assert part.action == "git.push"
    assert part.facts["ref"] == "refs/heads/a;b c"
    assert part.facts["update"] == "force"
    assert part.facts["lost"] == 2
    assert part.facts["paths"] is None
    more = git_line("push ...", [Event("push", push), Event("push", {"more": 3})])
    assert load("git-ssh").parts(more)[0].action == "git.unparsed"
    for text in ("list org/repo (push)", "fetch org/repo: refs/heads/main", "archive org/repo:"):
        (part,) = load("git-ssh").parts(git_line(text, []))
        assert part.action == f"git.{text.split()[0]}"
        assert part.facts["repo"] == "org/repo"


def test_recorder_replay_asks_the_gateway(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state.parent / "new.toml"
    path.write_text(POLICY)
    words = ["--dir", str(state), "replay", "--policy", str(path), "--json"]
    assert recorder([*words, ULIDS[0]]) == 0
    assert recorder([*words, ULIDS[1]]) == 5
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [v["session"] for v in told if v["schema"] == "wirewarden.policy-replay-item/1"] == [
        ULIDS[1]
    ]
