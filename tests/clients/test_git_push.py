"""git itself writes: every kind of ref update, and what the server has afterwards."""

from __future__ import annotations

import hashlib
import shutil

import pytest
from git_stack import Route, Work

from bench.git_bulk import fill

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-push")]

BULK_MB = 50
DEEP_MB = 500


@pytest.fixture
def seeded(route: Route) -> tuple[str, Work]:
    return route.seeded(3)


def has(route: Route, name: str, **refs: str) -> None:
    """The server's branches are exactly these, and its repository is sound."""
    assert route.refs(name) == {f"refs/heads/{k.replace('_', '/')}": v for k, v in refs.items()}
    route.sound(name)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_push_on(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, work = seeded
    tip = work.commit("more", "more")
    said = work.git("-c", f"protocol.version={version}", "push", "origin", "main")
    assert "main -> main" in said
    has(route, name, main=tip)
    assert "Everything up-to-date" in work.git("push", "origin", "main")


def test_many_refs_of_all_kinds_at_once(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    tips = {}
    for number in range(60):
        work.git("branch", f"topic-{number}", f"HEAD~{number % 3}")
    work.git("tag", "light")
    work.git("tag", "-a", "-m", "annotated", "heavy")
    work.git("push", "-q", "origin", "--all")
    work.git("push", "-q", "origin", "--tags")
    for number in range(20):
        work.git("branch", "-f", f"topic-{number}", "main~1" if number % 2 else "main")
        work.git("branch", "-D", "-q", f"topic-{number + 20}")
    tip = work.commit("newest", "newest")
    work.git("push", "-q", "--prune", "--force", "origin", "refs/heads/*:refs/heads/*")
    for line in work.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines():
        ref, value = line.split(" ")
        if not ref.startswith("refs/remotes/"):
            tips[ref] = value
    assert tips["refs/heads/main"] == tip
    assert len(tips) == 1 + 40 + 2
    assert route.refs(name) == tips
    route.sound(name)


def test_tags_move_and_go(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    work.git("tag", "-a", "-m", "one", "v1", "HEAD~1")
    work.git("push", "-q", "origin", "v1")
    assert route.refs(name)["refs/tags/v1"] == work.id("v1")
    work.git("tag", "-f", "-a", "-m", "two", "v1", "HEAD")
    refused = work.run("push", "origin", "v1")
    assert refused.returncode == 1
    assert "already exists" in refused.stdout
    work.git("push", "-q", "--force", "origin", "v1")
    assert route.refs(name)["refs/tags/v1"] == work.id("v1")
    work.git("push", "-q", "origin", ":refs/tags/v1")
    assert list(route.refs(name)) == ["refs/heads/main"]
    route.sound(name)


def test_delete(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    work.git("push", "-q", "origin", "main:gone")
    said = work.git("push", "origin", "--delete", "gone")
    assert "[deleted]" in said
    has(route, name, main=work.id())


@pytest.mark.parametrize("kind", ["amend", "reset", "unrelated", "merge"])
def test_force(route: Route, seeded: tuple[str, Work], kind: str) -> None:
    name, work = seeded
    if kind == "amend":
        work.git("commit", "-q", "--amend", "-m", "Another message")
    elif kind == "reset":  # an empty pack
        work.git("reset", "-q", "--hard", "HEAD~1")
    elif kind == "unrelated":
        work.git("checkout", "-q", "--orphan", "fresh")
        work.git("commit", "-q", "-m", "Unrelated")
        work.git("branch", "-M", "main")
    else:
        work.git("checkout", "-q", "-b", "side", "HEAD~2")
        work.commit("side", "side")
        work.git("checkout", "-q", "main~1")
        work.git("merge", "-q", "--no-edit", "side")
        work.git("branch", "-f", "main", "HEAD")
    refused = work.run("push", "origin", "main")
    assert refused.returncode == 1
    assert "rejected" in refused.stdout
    said = work.git("push", "--force", "origin", "main")
    assert "forced update" in said
    has(route, name, main=work.id("main"))


def test_force_with_lease(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    other = route.work(name)
    theirs = other.commit("theirs", "theirs")
    other.git("push", "-q", "origin", "main")
    work.git("commit", "-q", "--amend", "-m", "Mine")
    stale = work.run("push", "--force-with-lease", "origin", "main")
    assert stale.returncode == 1
    assert "stale info" in stale.stdout
    has(route, name, main=theirs)


def test_atomic(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    old = route.refs(name)
    tip = work.commit("more", "more")
    route.server.git(name, "config", "receive.denyCurrentBranch", "ignore")
    route.server.git(name, "config", "receive.denyNonFastForwards", "true")
    work.git("push", "-q", "--atomic", "origin", "main", "main:other")
    has(route, name, main=tip, other=tip)
    work.git("branch", "back", "HEAD~2")
    refused = work.run("push", "--atomic", "--force", "origin", "back:main", "back:third")
    assert refused.returncode == 1
    assert "atomic" in refused.stdout or "non-fast-forward" in refused.stdout
    has(route, name, main=tip, other=tip)
    # Without it, the server takes the one and refuses the other, and says which.
    mixed = work.run("push", "--force", "origin", "back:main", "back:third")
    assert mixed.returncode == 1
    assert "[new branch]" in mixed.stdout
    assert "remote rejected" in mixed.stdout
    has(route, name, main=tip, other=tip, third=work.id("back"))
    assert old["refs/heads/main"] != tip


def test_hooks_are_heard_and_refuse(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    hook = route.server.root / f"{name}.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho the hook speaks\necho and on stderr >&2\nexit ${CODE:-0}\n")
    hook.chmod(0o755)
    tip = work.commit("more", "more")
    said = work.git("push", "origin", "main")
    assert "remote: the hook speaks" in said
    assert "remote: and on stderr" in said
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    work.commit("evenmore", "more")
    refused = work.run("push", "origin", "main")
    assert refused.returncode == 1
    assert "remote rejected" in refused.stdout
    assert "pre-receive hook declined" in refused.stdout
    has(route, name, main=tip)


def test_an_empty_repository_and_a_first_push(route: Route) -> None:
    name = route.repository()
    work = route.new_work(name)
    tip = work.commit("first", "first")
    work.git("push", "-q", "-u", "origin", "main")
    has(route, name, main=tip)


def test_a_shallow_client_pushes(route: Route, seeded: tuple[str, Work]) -> None:
    name, _ = seeded
    work = route.work(name, "--depth", "1")
    tip = work.commit("shallow", "shallow")
    work.git("push", "-q", "origin", "main")
    has(route, name, main=tip)


def test_lfs_pointers_are_files_like_others(route: Route, seeded: tuple[str, Work]) -> None:
    """A server without LFS gets pointers only; git-lfs itself has no side
    door here: there is no LFS endpoint."""
    name, work = seeded
    digest = hashlib.sha256(b"big").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 3\n"
    work.commit(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (work.folder / "big.bin").write_text(pointer)
    work.git("-c", "filter.lfs.clean=cat", "add", "big.bin")
    work.git("-c", "filter.lfs.clean=cat", "commit", "-q", "-m", "A pointer")
    work.git("push", "-q", "origin", "main")
    has(route, name, main=work.id())
    assert route.server.git(name, "show", "main:big.bin") == pointer.strip()


def test_git_lfs_itself(route: Route, seeded: tuple[str, Work]) -> None:
    """With a standalone store on the client's side, as git-lfs asks over SSH
    for an endpoint that nobody gives it."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed (make tools installs it)")
    name, work = seeded
    store = work.client.folder / f"store-{work.folder.name}"
    work.client.git("init", "-q", "--bare", store)
    work.git("lfs", "install", "--local", "--skip-smudge")
    work.git("config", "lfs.url", f"file://{store}")
    work.git("config", "lfs.locksverify", "false")
    work.git("lfs", "track", "*.bin")
    work.git("add", ".gitattributes")
    work.commit("data.bin", b"\0" * 5000)
    work.git("push", "-q", "origin", "main")
    has(route, name, main=work.id())
    assert "size 5000" in route.server.git(name, "show", "main:data.bin")


def test_sha256_by_force_and_deletion(route: Route) -> None:
    name = route.repository("--object-format=sha256")
    work = route.new_work(name, "--object-format=sha256")
    work.commit("one", "one")
    work.commit("two", "two")
    work.git("push", "-q", "origin", "main", "main:gone")
    work.git("commit", "-q", "--amend", "-m", "Again")
    work.git("push", "-q", "--force", "origin", "main", ":gone")
    has(route, name, main=work.id())


def test_odd_names(route: Route, seeded: tuple[str, Work]) -> None:
    name, work = seeded
    for branch in ("feature/ünïcode", "a'b", "x" * 200, "PACK", "0000"):
        work.git("push", "-q", "origin", f"main:refs/heads/{branch}")
    work.commit("PACK", "PACK\0\0\0\2" * 9, "PACK0000\n\n0000")
    work.git("push", "-q", "origin", "main", "main:refs/notes/PACK")
    refs = route.refs(name)
    assert len(refs) == 7
    assert refs["refs/notes/PACK"] == refs["refs/heads/main"] == work.id()
    route.sound(name)


def bulk(route: Route, megabytes: int) -> None:
    name = route.repository()
    folder = route.client.folder / f"bulk-{megabytes}"
    fill(folder, megabytes, bare=False)
    work = Work(route.client, folder)
    work.git("remote", "add", "origin", route.url(name))
    work.git("push", "-q", "origin", "main", timeout=300)
    has(route, name, main=work.id("main"))
    shutil.rmtree(folder)


def test_a_large_pack(route: Route) -> None:
    bulk(route, BULK_MB)


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_a_very_large_pack(route: Route) -> None:
    bulk(route, DEEP_MB)
