"""git itself clones and fetches from git itself, with a lane between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("git"))
    made.build()
    return made


@pytest.fixture
def here(world: World, tmp_path: Path) -> str:
    world.runs()
    return str(tmp_path)


VERSIONS = pytest.mark.parametrize("version", [0, 1, 2])


@VERSIONS
def test_a_clone_is_the_same_and_asked_about_once(world: World, here: str, version: int) -> None:
    world.git("clone", "-q", world.url("full.git"), "c", at=here, version=version)
    (run,) = world.runs()
    (question,) = run["questions"]
    names = ["refs/heads/main", "refs/heads/side", "refs/tags/v1", "refs/tags/v2"]
    assert question["text"] == "fetch org/repo: " + ", ".join(names)
    assert question["action"] == "git.fetch"
    facts = question["facts"]
    assert set(names) <= set(facts["wants"])
    assert (facts["repo"], facts["version"], facts["filter"]) == ("org/repo", version, "")
    assert facts["depth"] == 0x7FFFFFFF
    assert run["status"] == 0
    world.git("fsck", "--strict", at=f"{here}/c")
    refs = world.git("show-ref", "-d", at="srv/full.git")
    for line in refs.splitlines():
        oid, name = line.split()
        there = name.replace("refs/heads/", "refs/remotes/origin/")
        assert world.git("rev-parse", there, at=f"{here}/c").strip() == oid


@VERSIONS
@pytest.mark.parametrize("cut", [0, 1, 13])
def test_any_cut_will_do(world: World, here: str, version: int, cut: int) -> None:
    url = world.url("full.git")
    words = ("clone", "-q", "--depth", "1", "--filter=blob:none", "--no-single-branch", url, "c")
    world.git(*words, at=here, version=version, cut=cut)
    world.git("fetch", "-q", "--deepen", "1", at=f"{here}/c", version=version, cut=cut)
    world.git("fetch", "-q", "--unshallow", at=f"{here}/c", version=version, cut=cut)
    texts = world.texts()
    assert texts[0].endswith("(depth 1, filter blob:none)")
    assert any("(depth 2147483647" in text for text in texts)
    assert world.git("rev-list", "--count", "HEAD", at=f"{here}/c").strip() == "5"
    world.git("fsck", at=f"{here}/c")


@VERSIONS
def test_a_negotiation_of_many_rounds(world: World, here: str, version: int) -> None:
    url = world.url("full.git")
    world.git("clone", "-q", "--single-branch", "-b", "v1", url, "c", at=here, version=version)
    world.git("checkout", "-q", "-b", "mine", at=f"{here}/c")
    for number in range(40):
        world.git("commit", "-q", "--allow-empty", "-m", f"mine {number}", at=f"{here}/c")
    world.runs()
    world.git("fetch", "-q", url, "main", at=f"{here}/c", version=version)
    assert world.texts() == ["fetch org/repo: refs/heads/main"]
    world.git("fsck", at=f"{here}/c")


@VERSIONS
def test_an_empty_repository(world: World, here: str, version: int) -> None:
    said = world.git("clone", world.url("empty.git"), "c", at=here, version=version)
    assert "empty repository" in said
    assert world.texts() == []


@VERSIONS
def test_sha256(world: World, here: str, version: int) -> None:
    world.git("clone", "-q", world.url("sha256.git"), "c", at=here, version=version)
    assert len(world.git("rev-parse", "HEAD", at=f"{here}/c").strip()) == 64
    assert "refs/heads/main" in world.texts()[0]


@VERSIONS
def test_one_branch_and_then_a_tag(world: World, here: str, version: int) -> None:
    url = world.url("full.git")
    words = ("clone", "-q", "--single-branch", "--no-tags", "-b", "v1", url, "c")
    world.git(*words, at=here, version=version)
    world.git("fetch", "-q", "origin", "tag", "v2", at=f"{here}/c", version=version)
    assert world.texts() == ["fetch org/repo: refs/tags/v1", "fetch org/repo: refs/tags/v2"]


@VERSIONS
def test_listing_asks_nothing(world: World, here: str, version: int) -> None:
    said = world.git("ls-remote", "--symref", world.url("full.git"), at=here, version=version)
    assert "ref: refs/heads/main\tHEAD" in said
    assert "refs/tags/v2^{}" in said
    assert world.texts() == []


@VERSIONS
def test_a_refusal_is_told_to_the_client(world: World, here: str, version: int) -> None:
    words = ("clone", world.url("full.git"), "c")
    said = world.git(*words, at=here, version=version, verdict="refuse", code=128)
    assert "remote error: blocked by rule no-mondays: not on a Monday (session s-1)" in said
    (run,) = world.runs()
    assert run["status"] == 128


@VERSIONS
def test_remote_messages_are_masked(world: World, here: str, version: int) -> None:
    words = ("clone", "--progress", world.url("full.git"), "c")
    plain = world.git(*words, at=here, version=version)
    assert "remote: Enumerating objects" in plain
    world.runs()
    words = ("clone", "--progress", world.url("full.git"), "d")
    for cut in (0, 1):
        said = world.git(*words, at=here, version=version, verdict="mask", secret="rating", cut=cut)
        assert "remote: Enume[masked] objects" in said
        assert "rating" not in said
        assert world.texts()[-1] == "Result"
        words = (*words[:-1], "e")


@VERSIONS
def test_refused_texts_refuse_the_fetch(world: World, here: str, version: int) -> None:
    words = ("clone", world.url("full.git"), "c")
    said = world.git(*words, at=here, version=version, verdict="refuse-result", code=128)
    assert "blocked by rule quiet: no texts for you" in said


@VERSIONS
def test_own_secrets_are_masked_in_errors(world: World, here: str, version: int) -> None:
    # A want that the server does not know; its error names it.
    missing = "1" * 40
    world.git("clone", "-q", world.url("full.git"), "c", at=here)
    words = ("fetch", "origin", missing)
    said = world.git(
        *words, at=f"{here}/c", version=version, own=True, secret=missing[:30], code=128
    )
    assert "not our ref [masked]1111111111" in said


def test_lazy_fetches_of_a_partial_clone_are_asked_about(world: World, here: str) -> None:
    url = world.url("full.git")
    world.git("clone", "-q", "--filter=blob:none", "--no-checkout", url, "c", at=here)
    world.runs()
    world.git("checkout", "-q", "main", at=f"{here}/c")
    (text,) = world.texts()
    assert text.startswith("fetch org/repo: ")
    assert text.endswith("(filter blob:none)")
    assert len(text.split(", ")) == 5


@pytest.mark.parametrize("cut", [0, 1])
def test_refs_wanted_by_name(world: World, here: str, cut: int) -> None:
    url = world.url("named.git")
    world.git("clone", "-q", "-b", "side", "--single-branch", url, "c", at=here, cut=cut)
    (run,) = world.runs()
    assert "want-ref refs/heads/side" in run["questions"][0]["context"]
    world.git("fsck", at=f"{here}/c")


def test_comparing_histories_is_asked_about(world: World, here: str) -> None:
    url = world.url("full.git")
    world.git("clone", "-q", url, "c", at=here)
    world.runs()
    words = ("fetch", "-q", "--negotiate-only", "--negotiation-tip=HEAD", "origin")
    said = world.git(*words, at=f"{here}/c")
    assert world.git("rev-parse", "HEAD", at=f"{here}/c").strip() in said.split()
    assert world.texts() == ["fetch org/repo: nothing, only compare"]
    said = world.git(*words, at=f"{here}/c", verdict="refuse", code=128)
    assert "blocked by rule no-mondays" in said


def test_what_is_advertised(world: World, here: str) -> None:
    trace = {"GIT_TRACE_PACKET": "1"}
    said = world.git("ls-remote", world.url("named.git"), at=here, env=trace, version=2)
    heard = [line.partition("ls-remote< ")[2] for line in said.splitlines()]
    assert "fetch=shallow wait-for-done ref-in-want" in heard
    assert "ls-refs=unborn" in heard
    assert "upload-pack> server-option" in said
    assert not {"object-info", "server-option"} & set(heard)


def test_archives(world: World, here: str) -> None:
    url = world.url("full.git")
    words = ("archive", f"--remote={url}", "--format=tar", "--prefix=x/", "main", "file1")
    said = world.git(*words, at=here)
    assert "x/file1" in said
    (run,) = world.runs()
    (question,) = run["questions"]
    assert question["text"] == "archive org/repo: --format=tar --prefix=x/ main file1"
    assert question["action"] == "git.archive"
    assert question["facts"]["wants"] == ["main"]
    said = world.git(*words, at=here, verdict="refuse", code=128)
    assert "blocked by rule no-mondays: not on a Monday" in said
    said = world.git("archive", f"--remote={url}", "--list", at=here)
    assert "tar\n" in said


def test_a_tree_that_the_server_refuses(world: World, here: str) -> None:
    words = ("archive", f"--remote={world.url('full.git')}", "nowhere")
    assert "not a valid object name" in world.git(*words, at=here, code=128)
    said = world.git(*words, at=here, code=128, own=True, secret="not a valid")
    assert "[masked] object name" in said
