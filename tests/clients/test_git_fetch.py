"""git itself reads: clone, fetch and archive, in every shape that asks differently."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from git_stack import Route, Work

from bench.git_bulk import fill

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-fetch")]

BULK_MB = 50
DEEP_MB = 500


@pytest.fixture(scope="module")
def seeded(route: Route) -> tuple[str, Work]:
    """A repository with five commits, a branch and two tags."""
    name, work = route.seeded(5)
    work.git("branch", "topic", "HEAD~2")
    work.git("tag", "light", "HEAD~1")
    work.git("tag", "-a", "-m", "A release", "v1.0", "HEAD~3")
    work.git("push", "-q", "origin", "topic", "light", "v1.0")
    return name, work


def same(route: Route, name: str, work: Work) -> None:
    """The clone has the server's tips, and every object behind them."""
    mine = dict(
        line.split(" ")
        for line in work.git(
            "for-each-ref", "--format=%(refname:lstrip=3) %(objectname)", "refs/remotes/origin"
        ).splitlines()
    )
    mine.pop("HEAD", None)
    theirs = {r.removeprefix("refs/heads/"): v for r, v in route.refs(name).items() if "heads" in r}
    assert mine == theirs
    work.git("fsck", "--full", "--strict")


@pytest.mark.parametrize("version", [0, 1, 2])
def test_clone(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, origin = seeded
    work = route.work(name, "-c", f"protocol.version={version}")
    same(route, name, work)
    assert work.id() == origin.id()
    assert work.git("tag").split() == ["light", "v1.0"]
    assert work.git("rev-parse", "v1.0^{commit}") == origin.git("rev-parse", "main~3")
    assert (work.folder / "file-4").read_text() == "content 4\n" * 20


@pytest.mark.parametrize("version", [0, 1, 2])
def test_ls_remote(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, origin = seeded
    said = origin.git("-c", f"protocol.version={version}", "ls-remote", "--symref", "origin")
    lines = dict(reversed(line.split("\t")) for line in said.splitlines() if line[:4] != "ref:")
    assert {r: v for r, v in lines.items() if r != "HEAD" and "^" not in r} == route.refs(name)
    assert "ref: refs/heads/main\tHEAD" in said


@pytest.mark.parametrize("version", [0, 2])
def test_shallow_clone_then_deeper(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, origin = seeded
    work = route.work(name, "--depth", "1", "-c", f"protocol.version={version}")
    assert work.git("rev-list", "--count", "HEAD") == "1"
    work.git("fetch", "-q", "--deepen", "2")
    assert work.git("rev-list", "--count", "HEAD") == "3"
    work.git("fetch", "-q", "--unshallow")
    assert work.git("rev-list", "HEAD") == origin.git("rev-list", "HEAD")
    work.git("fsck", "--full", "--strict")


def test_shallow_by_date_and_by_exclusion(route: Route, seeded: tuple[str, Work]) -> None:
    name, _ = seeded
    work = route.work(name, "--shallow-exclude=v1.0")
    assert work.git("rev-list", "--count", "HEAD") == "3"
    work = route.work(name, "--shallow-since=2000-01-01")
    assert work.git("rev-list", "--count", "HEAD") == "5"


@pytest.mark.parametrize("version", [0, 2])
def test_partial_clone(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, origin = seeded
    work = route.work(
        name, "--filter=blob:none", "--no-checkout", "-c", f"protocol.version={version}"
    )
    missing = work.git("rev-list", "--objects", "--all", "--missing=print").count("?")
    assert missing == 5, "no blob came with the clone"
    work.git("checkout", "-q", "main")  # asks for the blobs that it needs
    assert (work.folder / "file-0").read_text() == "content 0\n" * 20
    assert work.git("rev-parse", "HEAD^{tree}") == origin.git("rev-parse", "HEAD^{tree}")


def test_single_branch_and_one_ref(route: Route, seeded: tuple[str, Work]) -> None:
    name, origin = seeded
    work = route.work(name, "--single-branch", "--branch", "topic", "--no-tags")
    assert work.id() == origin.git("rev-parse", "topic")
    assert work.git("for-each-ref", "--format=%(refname)", "refs/tags") == ""
    work.git("fetch", "-q", "origin", "refs/heads/main:refs/heads/copy")
    assert work.git("rev-parse", "copy") == origin.id("main")


def test_a_commit_by_its_id(route: Route, seeded: tuple[str, Work]) -> None:
    name, origin = seeded
    work = route.new_work(name)
    wanted = origin.id("main~2")
    work.git("fetch", "-q", "--depth", "1", "origin", wanted)
    assert work.id("FETCH_HEAD") == wanted


@pytest.mark.parametrize("version", [0, 2])
def test_fetch_what_is_new(route: Route, version: int) -> None:
    name, origin = route.seeded(3)
    work = route.work(name, "-c", f"protocol.version={version}")
    for number in range(40):  # enough of its own that it has to negotiate
        work.commit("mine", f"{number}")
    new = origin.commit("later", "later")
    origin.git("push", "-q", "origin", "main")
    work.git("fetch", "-q", "origin")
    assert work.id("origin/main") == new
    assert work.git("fetch", "origin") == "", "there is nothing more to fetch"
    same(route, name, work)


def test_fetch_forgets_what_is_gone(route: Route) -> None:
    name, origin = route.seeded(1)
    origin.git("push", "-q", "origin", "main:gone")
    work = route.work(name)
    origin.git("push", "-q", "origin", ":gone")
    work.git("fetch", "-q", "--prune", "origin")
    same(route, name, work)


def test_an_empty_repository(route: Route) -> None:
    name = route.repository()
    work = route.work(name)
    assert work.run("rev-parse", "HEAD").returncode
    assert work.git("ls-remote", "origin") == ""
    tip = work.commit("first", "first")
    work.git("push", "-q", "origin", "HEAD:main")
    assert route.refs(name) == {"refs/heads/main": tip}


@pytest.mark.parametrize("version", [0, 2])
def test_sha256(route: Route, version: int) -> None:
    name = route.repository("--object-format=sha256")
    work = route.new_work(name, "--object-format=sha256")
    work.git("config", "protocol.version", str(version))
    work.commit("one", "one")
    tip = work.commit("two", "two")
    assert len(tip) == 64
    work.git("push", "-q", "origin", "main")
    assert route.refs(name) == {"refs/heads/main": tip}
    clone = route.work(name, "-c", f"protocol.version={version}")
    assert clone.id() == tip
    same(route, name, clone)
    route.sound(name)


def test_archive(route: Route, seeded: tuple[str, Work]) -> None:
    name, origin = seeded
    client = route.client
    done = subprocess.run(
        ["git", "archive", f"--remote={route.url(name)}", "--format=tar", "main"],
        capture_output=True,
        env=client.environment,
        cwd=client.folder,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(origin.git("ls-files").splitlines())


def test_a_repository_that_is_not_there(route: Route) -> None:
    done = route.client.run("ls-remote", route.url("org/nowhere"), timeout=20)
    assert done.returncode == 128
    assert done.stdout.strip()


def bulk(route: Route, megabytes: int) -> None:
    name = f"org/bulk{route.name}{megabytes}"
    size = fill(route.server.root / f"{name}.git", megabytes)
    assert size > megabytes * 1e6
    work = route.work(name, "--no-checkout")
    same(route, name, work)
    work = route.work(name, "--filter=blob:limit=100k", "--bare")
    assert work.git("rev-list", "--objects", "--all", "--missing=print").count("?")


def test_a_large_pack(route: Route) -> None:
    bulk(route, BULK_MB)


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_a_very_large_pack(route: Route) -> None:
    bulk(route, DEEP_MB)
