"""git's other implementations: dulwich (with the machine's ssh) and libgit2
(pygit2, which brings an SSH of its own, libssh2)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from git_stack import Route, Work

dulwich = pytest.importorskip("dulwich.porcelain")
pygit2 = pytest.importorskip("pygit2")
from dulwich.client import SSHGitClient, SubprocessSSHVendor  # noqa: E402
from dulwich.repo import Repo  # noqa: E402

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-libraries")]


@pytest.fixture(scope="module")
def seeded(route: Route) -> tuple[str, Work]:
    name, work = route.seeded(4)
    work.git("tag", "-a", "-m", "A release", "v1.0", "HEAD~1")
    work.git("push", "-q", "origin", "v1.0", "main~2:refs/heads/topic")
    return name, work


# -- dulwich -------------------------------------------------------------------


def speaker(route: Route) -> SSHGitClient:
    client = route.client
    return SSHGitClient(
        client.host,
        port=client.port,
        username=client.user,
        vendor=SubprocessSSHVendor(),
        ssh_command=client.ssh_command,
    )


def fresh(folder: Path) -> Repo:
    folder.mkdir()
    return Repo.init(str(folder))


def text(refs: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in refs.items() if value is not None}


@pytest.mark.parametrize("version", [0, 2])
def test_dulwich_lists(route: Route, seeded: tuple[str, Work], version: int) -> None:
    name, _ = seeded
    found = speaker(route).get_refs(route.path(name).encode(), protocol_version=version)
    refs = text(getattr(found, "refs", found))
    assert {r: v for r, v in refs.items() if r != "HEAD" and "^" not in r} == route.refs(name)


@pytest.mark.parametrize("version", [0, 2])
def test_dulwich_fetches(
    route: Route, seeded: tuple[str, Work], tmp_path: Path, version: int
) -> None:
    name, origin = seeded
    repo = fresh(tmp_path / "repo")
    result = speaker(route).fetch(route.path(name).encode(), repo, protocol_version=version or None)
    tip = result.refs[b"refs/heads/main"]
    assert tip.decode() == origin.id()
    assert sum(1 for _ in repo.get_walker(include=[tip])) == 4


def test_dulwich_fetches_shallow(route: Route, seeded: tuple[str, Work], tmp_path: Path) -> None:
    name, origin = seeded
    repo = fresh(tmp_path / "repo")
    result = speaker(route).fetch(route.path(name).encode(), repo, depth=1)
    tip = result.refs[b"refs/heads/main"]
    assert tip.decode() == origin.id()
    assert sum(1 for _ in repo.get_walker(include=[tip])) == 1
    assert tip in repo.get_shallow()


def test_dulwich_pushes_and_deletes(route: Route, tmp_path: Path) -> None:
    name, origin = route.seeded(2)
    repo = fresh(tmp_path / "repo")
    client = speaker(route)
    path = route.path(name).encode()
    parent = client.fetch(path, repo).refs[b"refs/heads/main"]
    repo.refs[b"refs/heads/main"] = parent
    (tmp_path / "repo" / "new").write_text("new")
    worktree = repo.get_worktree()
    worktree.stage([b"new"])
    tip = worktree.commit(
        b"From dulwich", committer=b"D <d@example.com>", author=b"D <d@example.com>"
    )
    result = client.send_pack(
        path,
        lambda _: {b"refs/heads/main": tip, b"refs/heads/other": parent},
        repo.generate_pack_data,
    )
    assert not any((result.ref_status or {}).values())
    assert route.refs(name) == {
        "refs/heads/main": tip.decode(),
        "refs/heads/other": parent.decode(),
    }
    client.send_pack(path, lambda _: {b"refs/heads/other": b"0" * 40}, repo.generate_pack_data)
    assert route.refs(name) == {"refs/heads/main": tip.decode()}
    assert origin.git("merge-base", "main", "main") == parent.decode()
    route.sound(name)


# -- libgit2 -------------------------------------------------------------------


class Callbacks(pygit2.RemoteCallbacks):  # type: ignore[misc]
    """The key (and certificate) of ``route``'s client, and its known host."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self._client = route.client
        self.refused: dict[str, str] = {}
        certificate = Path(f"{self._client.key}-cert.pub")
        self._public = certificate if certificate.exists() else Path(f"{self._client.key}.pub")

    def credentials(self, url: str, username: str | None, allowed: Any) -> Any:
        if not allowed & pygit2.enums.CredentialType.SSH_KEY:
            return pygit2.Username(self._client.user)
        return pygit2.Keypair(self._client.user, str(self._public), str(self._client.key), "")

    def certificate_check(self, certificate: Any, valid: bool, host: bytes) -> bool:
        return host.decode().split(":")[0] == self._client.host

    def push_update_reference(self, refname: str, message: str | None) -> None:
        if message is not None:
            self.refused[refname] = message


needs_ssh = pytest.mark.skipif(
    not pygit2.features & pygit2.enums.Feature.SSH, reason="this libgit2 has no SSH"
)


@needs_ssh
def test_libgit2_clones(route: Route, seeded: tuple[str, Work], tmp_path: Path) -> None:
    name, origin = seeded
    repo = pygit2.clone_repository(
        route.url(name), str(tmp_path / "repo"), callbacks=Callbacks(route)
    )
    assert str(repo.head.target) == origin.id()
    assert (tmp_path / "repo" / "file-3").read_text() == "content 3\n" * 20
    assert str(repo.references["refs/remotes/origin/topic"].target) == origin.id("main~2")
    assert len(list(repo.walk(repo.head.target))) == 4


@needs_ssh
def test_libgit2_clones_shallow(route: Route, seeded: tuple[str, Work], tmp_path: Path) -> None:
    name, _ = seeded
    repo = pygit2.clone_repository(
        route.url(name), str(tmp_path / "repo"), callbacks=Callbacks(route), depth=1
    )
    assert len(list(repo.walk(repo.head.target))) == 1


@needs_ssh
def test_libgit2_pushes(route: Route, tmp_path: Path) -> None:
    name, origin = route.seeded(2)
    repo = pygit2.clone_repository(
        route.url(name), str(tmp_path / "repo"), callbacks=Callbacks(route)
    )
    body = b"written by libgit2\n"
    builder = repo.TreeBuilder(repo.head.peel().tree)
    builder.insert("new", repo.create_blob(body), pygit2.enums.FileMode.BLOB)
    person = pygit2.Signature("L", "l@example.com", 1_700_000_000, 0)
    tip = repo.create_commit(
        "refs/heads/main", person, person, "From libgit2", builder.write(), [repo.head.target]
    )
    repo.references.create("refs/heads/other", origin.id())
    calls = Callbacks(route)
    remote = repo.remotes["origin"]
    remote.push(["refs/heads/main", "refs/heads/other"], callbacks=calls)
    assert not calls.refused
    refs = {"refs/heads/main": str(tip), "refs/heads/other": origin.id()}
    assert route.refs(name) == refs
    shown = route.server.git(name, "show", "main:new")
    assert hashlib.sha256(shown.encode() + b"\n").digest() == hashlib.sha256(body).digest()
    # Back by one, by force, and a branch less: the pack is empty.
    repo.references.create("refs/heads/main", origin.id(), force=True)
    remote.push(["+refs/heads/main", ":refs/heads/other"], callbacks=calls)
    assert not calls.refused
    assert route.refs(name) == {"refs/heads/main": origin.id()}
    route.sound(name)


@needs_ssh
def test_libgit2_fetches_what_is_new(route: Route, tmp_path: Path) -> None:
    name, origin = route.seeded(2)
    repo = pygit2.clone_repository(
        route.url(name), str(tmp_path / "repo"), callbacks=Callbacks(route)
    )
    tip = origin.commit("later", "later")
    origin.git("push", "-q", "origin", "main")
    repo.remotes["origin"].fetch(callbacks=Callbacks(route))
    assert str(repo.references["refs/remotes/origin/main"].target) == tip
