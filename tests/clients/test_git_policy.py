"""What a policy does to git: blocked, held, approved, denied, withdrawn."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from git_stack import GitStack, Route, Work, ending

from gateway.demo.ssh_server import SshServer

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-policy")]

RULES = """
version = 1
default = "deny"

[[rule]]
id = "agents-work"
on = ["git.list", "git.fetch", "git.push"]
verdict = "allow"

[[rule]]
id = "main-stays"
on = "git.push"
where = { ref = ["refs/heads/main", "refs/tags/v*"], update = ["force", "delete"] }
verdict = "block"
message = "{ref} is not rewritten"

[[rule]]
id = "force-is-held"
on = "git.push"
where = { update = "force" }
verdict = "hold"
approve = { groups = ["leads"], count = 1, ttl = "10m" }
message = "a force-push to {ref} loses {lost} commits"

[[rule]]
id = "workflows-are-held"
on = "git.push"
where = { paths = [".github/workflows/*", "CODEOWNERS"] }
verdict = "hold"
approve = { groups = ["leads"], count = 1, ttl = "10m" }
message = "the build itself changes"

[[rule]]
id = "no-secrets"
on = "git.push"
where = { secrets = "*" }
verdict = "block"
message = "{secrets} in {secret_paths}"

[[rule]]
id = "readers"
on = "git.push"
who = { groups = ["readers"] }
verdict = "block"
message = "readers don't push"
"""
KEY_ID = "AKIA" + "Q4ZJ7WXN2MLD5RTB"


@pytest.fixture(scope="module")
def route(
    git_server: SshServer,
    git_gateways: Callable[..., GitStack],
    tmp_path_factory: pytest.TempPathFactory,
) -> Route:
    return Route(git_server, tmp_path_factory.mktemp("git"), git_gateways(policy=RULES))


@pytest.fixture
def stack(route: Route) -> GitStack:
    assert route.stack is not None
    return route.stack


@pytest.fixture
def seeded(route: Route) -> tuple[str, Work]:
    return route.seeded(3)


def held_back(work: Work, *refs: str) -> subprocess.Popen[str]:
    return work.start("push", "--progress", "--force", "origin", *refs)


def rewritten(work: Work) -> tuple[str, str]:
    """A branch ``topic`` that is on the server, and a tip that isn't its
    descendant: (old, new)."""
    work.git("checkout", "-q", "-b", "topic")
    old = work.commit("topic-file", "first thoughts")
    work.git("push", "-q", "origin", "topic")
    work.git("commit", "-q", "--amend", "-m", "Second thoughts")
    return old, work.id()


@pytest.mark.parametrize("how", ["force", "delete", "reset", "tag"])
def test_blocked(route: Route, seeded: tuple[str, Work], how: str) -> None:
    name, work = seeded
    refs = ["main"]
    if how == "tag":
        work.git("tag", "v1", "HEAD~1")
        work.git("push", "-q", "origin", "v1")
        work.git("tag", "-f", "v1", "HEAD")
        refs = ["v1"]
    elif how == "reset":
        work.git("reset", "-q", "--hard", "HEAD~1")
    elif how == "delete":
        refs = [":main"]
    else:
        work.git("commit", "-q", "--amend", "-m", "Another")
    before = route.refs(name)
    done = work.run("push", "--force", "origin", *refs)
    assert done.returncode == 1
    assert "remote rejected" in done.stdout
    assert "main-stays" in done.stdout
    assert "is not rewritten" in done.stdout
    assert route.refs(name) == before
    route.sound(name)
    tip = work.git("rev-parse", "origin/main") if how != "delete" else work.id()
    work.git("push", "-q", "origin", f"{tip}:refs/heads/after")
    assert route.refs(name)["refs/heads/after"] == tip, "the next push is as good as ever"


def test_one_refused_ref_refuses_all(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    before = route.refs(name)
    for number in range(20):
        work.git("branch", f"fine-{number}")
    work.git("branch", "back", "HEAD~1")
    done = work.run("push", "--force", "origin", "refs/heads/fine-*:refs/heads/fine-*", "back:main")
    assert done.returncode == 1
    assert done.stdout.count("remote rejected") == 21
    assert done.stdout.count("main-stays") >= 1
    assert route.refs(name) == before


def test_readers_read(stack: GitStack, route: Route, seeded: tuple[str, Work]) -> None:
    name, _ = seeded
    client = stack.client(token=stack.token("reader", groups=["readers"]))
    work = route.work(name, client=client)
    work.commit("mine", "mine")
    done = work.run("push", "origin", "main")
    assert done.returncode == 1
    assert "readers don't push" in done.stdout


def test_a_secret_is_not_pushed(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    before = route.refs(name)
    work.commit("deploy.sh", f"export AWS_ACCESS_KEY_ID={KEY_ID}\n")
    work.git("rm", "-q", "deploy.sh")
    work.git("commit", "-q", "-m", "Nobody saw that")
    done = work.run("push", "origin", "main")
    assert done.returncode == 1
    assert "no-secrets" in done.stdout
    assert "deploy.sh" in done.stdout
    assert KEY_ID not in done.stdout
    assert route.refs(name) == before


def test_held_then_approved(stack: GitStack, route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    old, new = rewritten(work)
    with ending(held_back(work, "topic")) as push:
        approval = stack.held()
        shown = stack.gateway("approvals", "show", approval["id"])
        assert shown.returncode == 0, shown.stderr
        for text in ("refs/heads/topic", old[:7], new[:7], "topic-file", "Second thoughts"):
            assert text in shown.stdout, text
        assert "Change topic-file" in shown.stdout, "the commit that would be lost is named"
        assert route.refs(name)["refs/heads/topic"] == old
        denied = stack.decide("approve", approval["id"], token=stack.token())
        assert denied.returncode == 3, "who asks doesn't answer"
        done = stack.decide("approve", approval["id"])
        assert done.returncode == 0, done.stderr
        out, _ = push.communicate(timeout=20)
    assert push.returncode == 0, out
    assert f"remote: waiting for approval {approval['id']}" in out
    assert "forced update" in out
    assert route.refs(name)["refs/heads/topic"] == new
    route.sound(name)


def test_held_then_denied(stack: GitStack, route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    old, _ = rewritten(work)
    with ending(held_back(work, "topic")) as push:
        approval = stack.held()
        done = stack.decide("deny", approval["id"], "-m", "not on a Friday")
        assert done.returncode == 0, done.stderr
        out, _ = push.communicate(timeout=20)
    assert push.returncode == 1, out
    assert "remote rejected" in out
    assert route.refs(name)["refs/heads/topic"] == old


def test_ctrl_c_withdraws(stack: GitStack, route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    old, _ = rewritten(work)
    with ending(held_back(work, "topic")) as push:
        approval = stack.held()
        os.killpg(push.pid, signal.SIGINT)
        push.communicate(timeout=10)
    end = time.monotonic() + 10
    while stack.approvals():
        assert time.monotonic() < end, "it is still offered"
        time.sleep(0.1)
    late = stack.decide("approve", approval["id"])
    assert late.returncode != 0
    route.rested()
    assert route.refs(name)["refs/heads/topic"] == old


def test_the_branch_moves_while_it_waits(
    stack: GitStack, route: Route, seeded: tuple[str, Work]
) -> None:
    """What was approved was old → new; the old is another by then."""
    name, work = seeded
    rewritten(work)
    with ending(held_back(work, "topic")) as push:
        approval = stack.held()
        moved = work.git("rev-parse", "main")
        route.server.git(name, "update-ref", "refs/heads/topic", moved)
        stack.decide("approve", approval["id"])
        out, _ = push.communicate(timeout=20)
    assert push.returncode == 1, out
    assert "remote rejected" in out
    assert route.refs(name)["refs/heads/topic"] == moved


def test_workflows_are_held(stack: GitStack, route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    tip = work.commit(".github/workflows/build.yml", "on: push\n")
    with ending(work.start("push", "origin", "main")) as push:
        approval = stack.held()
        assert (
            ".github/workflows/build.yml"
            in stack.gateway("approvals", "show", approval["id"]).stdout
        )
        assert stack.decide("approve", approval["id"]).returncode == 0
        out, _ = push.communicate(timeout=20)
    assert push.returncode == 0, out
    assert route.refs(name)["refs/heads/main"] == tip


def test_a_keepalive_comes_while_it_waits(
    stack: GitStack, route: Route, seeded: tuple[str, Work]
) -> None:
    """At most 5 s apart: a proxy or a NAT between would cut a silent line."""
    name, work = seeded
    old, new = rewritten(work)
    trace = work.folder.parent / f"{work.folder.name}.trace"
    with ending(
        work.start(
            "push", "--force", "origin", "topic", environment={"GIT_TRACE_PACKET": str(trace)}
        )
    ) as push:
        approval = stack.held()
        before = trace.read_text().count("sideband<")
        time.sleep(11)
        after = trace.read_text().count("sideband<")
        assert after - before >= 2
        assert stack.decide("approve", approval["id"]).returncode == 0
        out, _ = push.communicate(timeout=20)
    assert push.returncode == 0, out
    assert route.refs(name)["refs/heads/topic"] == new != old
