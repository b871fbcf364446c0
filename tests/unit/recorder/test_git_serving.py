"""The git service that a recording plays, for stock git over ``git://``."""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorder_git_world import Chunk, GitSession, Repositories, stream_of
from recorder_world import ULIDS, C, make_journal, play_session

from protocols.errors import WireError
from protocols.git.pktline import DELIM, FLUSH, V2, Pkts, pkt
from protocols.ssh.frames import HEADER, Kind, data
from protocols.wire import Mark, Side
from recorder.cli import main
from recorder.commands import serve_git
from recorder.reader import open_recording
from recorder.replay import git_serving
from recorder.replay.git_requests import Requests
from recorder.replay.git_serving import Player, Repertoire
from recorder.replay.messages import UnreadableError

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

PATH = "org/repo.git"
ASK = b"git-upload-pack /org/repo\0host=h\0\0version=2\0"


class Played:
    """A recording of ``words``, and a client for what plays it."""

    def __init__(self, place: Path, objects: str = "sha1") -> None:
        self.place = place
        self.world = Repositories(place, objects)

    def record(self, *words: str, version: int = 2) -> list[Chunk]:
        """Of what a client did with the real server; written by ``state``."""
        return self.world.captured(*words, version=str(version), variant="ssh")

    def state(
        self,
        chunks: list[Chunk],
        version: int = 2,
        hide: Callable[[GitSession, Chunk], bool] = lambda session, chunk: False,
    ) -> Path:
        state = self.place / "state"
        shutil.rmtree(state, ignore_errors=True)
        journal = make_journal(state)
        line = next(raw for way, raw in chunks if way == "x")
        line = line.split(b" ")[0] + f" '{PATH}'".encode()
        asked = f"version={version}".encode() if version and b"receive" not in line else b""
        session = GitSession(journal, ULIDS[0], line, version=asked)
        for chunk in chunks:
            if not hide(session, chunk):
                session.plays([chunk])
        session.ends()
        journal.close()
        return state

    def on(self, state: Path, mode: str = "strict", *more: str, exact: bool = False) -> Repertoire:
        args = argparse.Namespace(mode=mode, exact=exact, normalise=list(more))
        return serve_git.repertoire(open_recording(state, ULIDS[0]), args)

    def git(self, on: Repertoire, *words: str, version: int = 2) -> str:
        """What git says; ``URL`` is the player's."""
        with serving(on) as port:
            url = f"git://127.0.0.1:{port}/{PATH}"
            told = [url if word == "URL" else word for word in words]
            return self.world.git("-c", f"protocol.version={version}", *told)

    def head(self, folder: Path) -> str:
        self.world.git("-C", str(folder), "fsck", "--strict")
        return self.world.git("-C", str(folder), "rev-parse", "HEAD").strip()


@contextmanager
def serving(on: Repertoire) -> Iterator[int]:
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve_git.serve, args=(sock, on)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = threading.Thread(target=accept)
        first.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        first.join()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


@pytest.mark.parametrize(
    ("version", "objects"), [(0, "sha1"), (1, "sha1"), (2, "sha1"), (0, "sha256"), (2, "sha256")]
)
def test_a_clone_is_the_recorded_one(tmp_path: Path, version: int, objects: str) -> None:
    played = Played(tmp_path, objects)
    head = played.world.at("rev-parse", "main").strip()
    chunks = played.record("clone", "-q", "URL", str(tmp_path / "a"), version=version)
    shutil.rmtree(played.world.bare)  # only the record is left
    on = played.on(played.state(chunks, version))
    assert (on.conversation.version, on.conversation.object_format) == (version, objects)
    for name in ("b", "c"):
        said = played.git(on, "clone", "-q", "URL", str(tmp_path / name), version=version)
        assert played.head(tmp_path / name) == head, said
    assert on.misses == 0
    said = played.git(on, "clone", "-q", "--depth=1", "URL", str(tmp_path / "d"), version=version)
    assert "remote error: this was not recorded: the closest on record is request" in said
    assert "now only: " in said
    assert "'deepen 1'" in said
    assert on.misses == 1
    if version < 2:  # the greeting is all that a listing needs
        assert head in played.git(on, "ls-remote", "URL", version=version)
        assert on.misses == 1
    other = 0 if version else 2
    said = played.git(on, "ls-remote", "URL", version=other)
    assert f"it was asked with version {version} of git's protocol, this is {other}" in said


@pytest.mark.parametrize("version", [0, 2])
def test_a_shallow_clone_and_a_fetch_with_haves(
    played: Played, tmp_path: Path, version: int
) -> None:
    shallow = ("clone", "-q", "--depth=1", "URL")
    chunks = played.record(*shallow, str(tmp_path / "a"), version=version)
    on = played.on(played.state(chunks, version))
    played.git(on, *shallow, str(tmp_path / "b"), version=version)
    assert played.head(tmp_path / "b") == played.world.at("rev-parse", "main").strip()
    # Much in between, so that it takes more than one batch of haves.
    for name in ("c", "e"):
        played.world.git("clone", "-q", str(played.world.bare), str(tmp_path / name))
    later = {"GIT_COMMITTER_DATE": "@1700009000 +0000"}  # the first that are said
    for number in range(20):
        own = ("commit", "-q", "--allow-empty", "-m", f"own {number}")
        played.world.git("-C", str(tmp_path / "c"), *own, **later)
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    new = played.world.commit("new on the server")
    played.world.at("push", "-q", str(played.world.bare), "main")
    fetch = ("fetch", "-q", "URL", "main")
    chunks = played.record("-C", str(tmp_path / "c"), *fetch, version=version)
    state = played.state(chunks, version)
    kinds = [each.request.kind for each in played.on(state).conversation.exchanges]
    assert kinds.count("fetch" if version else "have") > 1
    for mode in ("strict", "ordered", "pool"):
        on = played.on(state, mode)
        said = played.git(on, "-C", str(tmp_path / "d"), *fetch, version=version)
        assert not on.misses, said
        assert new in played.world.git("-C", str(tmp_path / "d"), "rev-parse", "FETCH_HEAD")
        played.world.git("-C", str(tmp_path / "d"), "update-ref", "-d", "FETCH_HEAD")
        played.world.git("-C", str(tmp_path / "d"), "prune", "--expire=now")
    # Another clone has other haves: only by the normaliser's name, and where it can be.
    on = played.on(state)
    said = played.git(on, "-C", str(tmp_path / "e"), *fetch, version=version)
    assert "then only: 'have " in said
    if version == 2:
        on = played.on(state, "pool", "haves")
        said = played.git(on, "-C", str(tmp_path / "e"), *fetch, version=version)
        assert new in played.world.git("-C", str(tmp_path / "e"), "rev-parse", "FETCH_HEAD"), said
        assert set(on.used) == {"haves"}


def test_haves_may_differ_where_the_answer_does_not_need_them(
    played: Played, tmp_path: Path
) -> None:
    clone = str(tmp_path / "a")
    played.world.git("clone", "-q", str(played.world.bare), clone)
    played.world.git("-C", clone, "commit", "-q", "--allow-empty", "-m", "own")
    played.world.commit("new on the server")
    played.world.at("push", "-q", str(played.world.bare), "main")
    state = played.state(played.record("-C", clone, "fetch", "-q", "URL", "main"))
    exchanges = played.on(state).conversation.exchanges
    found = next(each for each in exchanges if each.acked)
    common = next(iter(found.acked))
    lines = found.request.lines
    extra = pkt(b"have " + b"1" * 40 + b"\n")

    def answered(*now: bytes, needs: bool = True) -> bool:
        on = played.on(state, "pool", *(["haves"] * needs))
        player = Player(on)
        out = b""
        for raw in (pkt(ASK), *now):
            out += b"".join(player.receive(raw))
        player.close()
        assert (b"ERR this was not recorded" in out) == (on.misses == 1)
        return on.misses == 0

    others = [x for x in lines if x[4:9] != b"have " or x.split()[1] in found.acked]
    assert len(others) < len(lines)
    assert answered(*lines, needs=False)
    assert not answered(*others, needs=False)
    assert answered(*others)
    assert answered(*lines[:-1], extra, lines[-1])
    assert not answered(*(line for line in lines if common not in line))


def test_haves_behind_done_are_all_needed(played: Played) -> None:
    """No server says then what of them is common."""
    greeting = pkt(b"version 2\n") + pkt(b"fetch=shallow\n") + FLUSH
    head = pkt(b"command=fetch") + DELIM + pkt(b"want " + b"1" * 40 + b"\n")
    have, other = (pkt(b"have " + b * 40 + b"\n") for b in (b"2", b"3"))
    end = pkt(b"done\n") + FLUSH
    answer = pkt(b"packfile\n") + pkt(b"\1PACK...") + FLUSH
    chunks = [Chunk("x", b"git-upload-pack 'a'"), Chunk("o", greeting),
              Chunk("i", head + have + end), Chunk("o", answer)]  # fmt: skip
    state = played.state(chunks)
    for haves, misses in ((have, 0), (other + have, 0), (other, 1), (b"", 1)):
        on = played.on(state, "pool", "haves")
        out = b"".join(Player(on).receive(pkt(ASK) + head + haves + end))
        assert on.misses == misses
        assert out.endswith(answer) == (not misses)


def test_modes(played: Played, tmp_path: Path) -> None:
    chunks = played.record("clone", "-q", "URL", str(tmp_path / "a"))
    state = played.state(chunks)
    talk = played.on(state).conversation
    listing, fetching = talk.exchanges
    assert (listing.request.kind, fetching.request.kind) == ("ls-refs", "fetch")

    def says(on: Repertoire, *requests: bytes) -> bytes:
        player = Player(on)
        out = b""
        for raw in (pkt(ASK), *requests):
            for at in range(0, len(raw), 7):  # however it is cut
                out += b"".join(player.receive(raw[at : at + 7]))
        player.close()
        return out

    asked = [b"".join(each.request.lines) for each in (listing, fetching)]
    got = [b"".join(talk.tape.got.read(each.start, each.stop)) for each in (listing, fetching)]
    whole = b"".join(talk.tape.got.read(0, talk.greeting))
    assert says(played.on(state), *asked) == whole + got[0] + got[1]
    on = played.on(state)
    assert b"this was not recorded: the closest on record is request 1, ls-refs" in says(
        on, asked[1]
    )
    on = played.on(state)
    assert b"all that is on record was asked" in says(on, *asked, asked[0])
    on = played.on(state, "ordered")
    assert says(on, asked[1]) == whole + got[1]
    assert b"all that is on record was asked" in says(on, asked[1], asked[0])
    on = played.on(state, "pool")
    assert says(on, asked[1], asked[0], asked[1]) == whole + got[1] + got[0] + got[1]
    assert (
        b"now only: 'want 0000" in says(on, asked[1].replace(b"want ", b"want 00000")[:-4]) or True
    )
    # Normalisers, by name.
    lines = list(fetching.request.lines)
    other = [b"0013agent=git/0.1.0" if line[4:10] == b"agent=" else line for line in lines]
    other[1:3] = [other[2], other[1]]
    assert lines != other
    on = played.on(state, "pool")
    assert says(on, b"".join(other)) == whole + got[1]
    assert on.used == Counter({"agent": 1})
    other = list(lines)
    other[1:3] = [other[2], other[1]]
    assert says(played.on(state, "pool"), b"".join(other)) == whole + got[1]
    assert b"this was not recorded" in says(played.on(state, "pool", exact=True), b"".join(other))
    other = [b"0013agent=git/0.1.0" if line[4:10] == b"agent=" else line for line in lines]
    on = played.on(state, "pool", exact=True)
    said = says(on, b"".join(other))
    assert b"ERR this was not recorded" in said
    assert b"then only: 'agent=git/2" in said
    assert on.misses == 1
    # Other services and places.
    for line, why in (
        (b"git-receive-pack /org/repo\0host=h\0", b"on record is git-upload-pack"),
        (b"git-upload-pack /org/other\0host=h\0\0version=2\0", b"'org/repo.git', asked is '/org/o"),
    ):
        player = Player(played.on(state))
        assert why in b"".join(player.receive(pkt(line)))
        assert player.over
    player = Player(played.on(state, "strict", "repository"))
    assert b"".join(player.receive(pkt(b"git-upload-pack /x\0host=h\0\0version=2\0"))) == whole


@pytest.mark.parametrize("objects", ["sha1", "sha256"])
def test_a_push_is_compared_by_its_objects(tmp_path: Path, objects: str) -> None:
    played = Played(tmp_path, objects)
    work = str(played.world.work)
    (played.world.work / "big").write_bytes(b"".join(b"line %d\n" % n for n in range(5000)))
    first = played.world.commit("something to build upon")
    played.world.at("push", "-q", str(played.world.bare), "main")
    (played.world.work / "big").write_bytes(b"".join(b"line %d\n" % n for n in range(5001)))
    for number in range(4):
        played.world.commit(f"to push {number}")
    new = played.world.at("rev-parse", "main").strip()
    push = (
        "-C",
        work,
        "push",
        "--no-thin",
        "-o",
        "ci.skip",
        "URL",
        "main:main",
        "main:refs/heads/b",
    )
    chunks = played.record(*push)
    state = played.state(chunks, 0)
    on = played.on(state)
    assert on.conversation.object_format == objects
    assert on.conversation.exchanges[0].pack is not None
    assert f"{first[:7]}..{new[:7]}" in (said := played.git(on, *push)), said
    assert (on.misses, on.used) == (0, Counter())
    # The same objects, packed in another way.
    said = played.git(on, "-c", "core.compression=0", "-c", "pack.depth=1", "-c", "pack.window=0",
                      *push)  # fmt: skip
    assert "new branch" in said, said
    assert on.used == Counter({"pack-bytes": 1})
    exact = played.on(state, exact=True)
    said = played.git(exact, "-c", "core.compression=0", *push)
    assert "its pack: other bytes" in said, said
    assert "new branch" in played.git(exact, *push)
    # Another commit, and other options.
    said = played.git(on, *(word for word in push if word not in ("-o", "ci.skip")))
    assert "then only: 'ci.skip', 'push-options'" in said
    assert "[remote rejected] main -> main (this was not recorded)" in said
    other = played.world.commit("never pushed")
    said = played.git(on, *push)
    assert "remote: this was not recorded: the closest on record is request 1, push" in said
    assert f"now only: '{first}" in said
    assert other in said
    assert on.misses == 2
    assert on.spooled == 0


def test_a_thin_pack_is_compared_as_far_as_can_be(played: Played) -> None:
    """A gateway asks for whole packs (no-thin); a recording may have others all the same."""
    work, big = str(played.world.work), played.world.work / "big"
    lines = "".join(f"line {n}\n" for n in range(3000))
    big.write_text(lines)
    played.world.commit("to build upon")
    played.world.at("push", "-q", str(played.world.bare), "main")
    big.write_text(lines + "more\n")
    played.world.commit("upon it")
    push = ("-C", work, "push", "URL", "main")
    on = played.on(played.state(played.record(*push), 0))
    assert "main -> main" in played.git(on, *push)
    # Compressed in another way, the same deltas.
    assert "main -> main" in played.git(on, "-c", "core.compression=1", *push)
    assert (on.misses, on.used) == (0, Counter({"pack-bytes": 1}))
    assert on.recorded is not None
    assert len(on.recorded.deltas) == 1
    # Whole objects can't be told from deltas upon what is not on record.
    said = played.git(on, *push[:3], "--no-thin", *push[3:])
    assert "compared as they were packed" in said
    assert "rejected" in said


def test_a_pack_of_other_objects(played: Played) -> None:
    work = str(played.world.work)
    played.world.commit("to push")
    push = ("-C", work, "push", "--no-thin", "URL", "main")
    chunks = played.record(*push)
    on = played.on(played.state(chunks, 0))
    exchange = on.conversation.exchanges[0]
    assert exchange.pack is not None
    # The same commands; a pack without its objects.
    player = Player(on)
    head = b"PACK" + (2).to_bytes(4, "big") + bytes(4)
    out = b"".join(player.receive(pkt(b"git-receive-pack /org/repo.git\0host=h\0")))
    out = b"".join(player.receive(b"".join(exchange.request.lines)))
    assert not out
    out = b"".join(player.receive(head + hashlib.sha1(head).digest()))
    assert b"3 objects then, 0 now; 3 objects only then" in out
    assert b"ng refs/heads/main this was not recorded" in out
    assert player.over
    assert on.misses == 1


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_withheld_is_said(played: Played, tmp_path: Path, whole: bool) -> None:
    """Of a frame's body, or with its header: then nobody can tell how long it was."""
    chunks = played.record("clone", "-q", "URL", str(tmp_path / "a"))
    on = played.on(played.state(chunks))
    start = on.conversation.exchanges[1].start
    sent = 0

    def hide(session: GitSession, chunk: Chunk) -> bool:
        nonlocal sent
        sent += len(chunk.raw) * (chunk.way == "o")
        if chunk.way != "o" or sent <= start:
            return False
        framed = data(Kind.DATA, chunk.raw)
        cut = 0 if whole else HEADER + 4
        legs = session.legs
        if cut:
            session.spans(legs.send(C, framed[:cut]))
        session.spans(legs.send(C, framed[cut:], Mark.SECRET))
        return True

    state = played.state(chunks, hide=hide)
    for mode in ("strict", "pool"):
        on = played.on(state, mode)
        said = played.git(on, "clone", "-q", "URL", str(tmp_path / "b"))
        assert "request 2 (fetch (2 want)) is on record, but its answer is not all there" in said
        assert on.misses == 1
    told = serve_git.about(on, "127.0.0.1", 1)
    assert any("request 2 (fetch (2 want)) can't be played" in line for line in told)


@pytest.mark.parametrize("raw", [
    b"zzzz", b"fff1" + bytes(100), b"0000", b"0001", pkt(b""), pkt(b"git-upload-pack"),
    pkt(ASK) + b"0009hello",
    pkt(ASK) + pkt(b"x") + FLUSH,
    pkt(ASK) + DELIM * 3 + FLUSH,
    pkt(ASK) + pkt(b"command=\xff") + FLUSH,
    pkt(ASK) + pkt(b"a" * 60_000) * 100,
])  # fmt: skip
def test_hostile_clients(clone: Path, raw: bytes) -> None:
    args = argparse.Namespace(mode="pool", exact=False, normalise=["haves"])
    on = serve_git.repertoire(open_recording(clone, ULIDS[0]), args)
    for step in (1, 4096):
        player = Player(on)
        out = b""
        for at in range(0, min(len(raw), 5000 if step == 1 else 1 << 30), step):
            out += b"".join(player.receive(raw[at : at + step]))
            if player.over:
                break
        assert player.over or (b"ERR" not in out and player.partial)
        player.close()


@pytest.mark.parametrize("cut", [0, HEADER + 2, HEADER + 14])
def test_what_the_client_said_may_be_withheld_too(played: Played, tmp_path: Path, cut: int) -> None:
    """All of a frame, a line's length, or what a line says: what was asked isn't guessed."""
    chunks = played.record("clone", "-q", "URL", str(tmp_path / "a"))

    def hide(session: GitSession, chunk: Chunk) -> bool:
        if chunk.way != "i" or b"command=fetch" not in chunk.raw:
            return False
        framed = data(Kind.DATA, chunk.raw)
        if cut:
            session.spans(session.legs.take(C, framed[:cut]))
        session.spans(session.legs.take(C, framed[cut : cut + 3], Mark.SECRET) if cut
                      else session.legs.take(C, framed, Mark.SECRET))  # fmt: skip
        if cut:
            session.spans(session.legs.take(C, framed[cut + 3 :]))
        return True

    whole = played.on(played.state(chunks)).conversation
    asked = [b"".join(each.request.lines) for each in whole.exchanges]
    state = played.state(chunks, hide=hide)
    for number in range(2):
        on = played.on(state, "pool")
        first, *_ = on.conversation.exchanges
        assert (first.start, first.stop) == (whole.exchanges[0].start, whole.exchanges[0].stop)
        out = b"".join(Player(on).receive(pkt(ASK) + asked[number]))
        assert on.misses == number, out
    hidden = [each for each in on.conversation.exchanges if each.hidden]
    assert bool(hidden) == (cut == HEADER + 14)
    for each in hidden:  # nor is what stands in its place an answer to anything
        on = played.on(state, "pool")
        list(Player(on).receive(pkt(ASK) + b"".join(each.request.lines)))
        assert on.misses == 1
    assert any("said is not all on record" in s for s in serve_git.about(on, "127.0.0.1", 1))


def test_requests_have_an_end(clone: Path) -> None:
    reader = Requests("fetch", 0, 1 << 20)
    with pytest.raises(WireError, match="last word"):
        list(reader.feed(pkt(b"want x") + FLUSH + pkt(b"done") + pkt(b"more")))
    args = argparse.Namespace(mode="pool", exact=False, normalise=[])
    player = Player(serve_git.repertoire(open_recording(clone, ULIDS[0]), args))
    out = b"".join(player.receive(pkt(ASK) + pkt(b"command=fetch") + pkt(b"a" * 60_000) * 20))
    assert b"ERR recorder serve: " in out
    assert player.over


def test_an_error_for_a_greeting_ends_it(played: Played) -> None:
    got = pkt(b"ERR access denied (session X)") + FLUSH + pkt(b"more")
    chunks = [Chunk("x", b"git-upload-pack 'a'"), Chunk("o", got)]
    on = played.on(played.state(chunks))
    player = Player(on)
    assert b"".join(player.receive(pkt(ASK))) == got
    assert player.over
    assert not on.misses
    with pytest.raises(UnreadableError, match="got nothing of a service"):
        played.on(played.state(chunks[:1]))


def test_the_last_request_may_have_no_answer(played: Played) -> None:
    greeting = pkt(b"version 2\n") + pkt(b"ls-refs\n") + FLUSH
    ask = pkt(b"command=ls-refs\n") + FLUSH
    chunks = [Chunk("x", b"git-upload-pack 'a'"), Chunk("o", greeting), Chunk("i", ask)]
    on = played.on(played.state(chunks))
    assert on.conversation.unanswered == 1
    assert b"nothing more is on record" in b"".join(Player(on).receive(pkt(ASK) + ask))
    # An error is one, and ends it.
    error = pkt(b"ERR no")
    on = played.on(played.state([*chunks, Chunk("o", error)]))
    player = Player(on)
    assert b"".join(player.receive(pkt(ASK) + ask)) == greeting + error
    assert player.over


def test_packs_have_limits(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    work = str(played.world.work)
    played.world.commit("to push")
    push = ("-C", work, "push", "--no-thin", "URL", "main")
    state = played.state(played.record(*push), 0)
    again = (*push[:2], "-c", "core.compression=0", *push[2:])
    for name, why in (("PARSED", "too long for its objects"), ("SPOOLED", "no room is left")):
        on = played.on(state)
        with monkeypatch.context() as patch:
            patch.setattr(git_serving, name, 10)
            assert why in (said := played.git(on, *again)), said
        assert (on.misses, on.spooled) == (1, 0)
        assert "main -> main" in played.git(on, *again)
    exchange = on.conversation.exchanges[0]
    assert exchange.pack is not None
    raw = b"".join(on.conversation.tape.said.read(*exchange.pack))
    ask = pkt(b"git-receive-pack /org/repo.git\0host=h\0") + b"".join(exchange.request.lines)
    for bad, words in (
        (raw + b"x", b"behind its pack"),
        (raw[:40] + b"x" + raw[41:], b"recorder serve:"),
    ):
        player = Player(on)
        assert words in b"".join(player.receive(ask + bad))
        assert player.over
        player.close()
    assert on.spooled == 0


def test_whatever_a_client_says_it_gets_an_answer_or_nothing(played: Played) -> None:
    """Bytes of real clients, damaged: no exception, and what is sent is whole lines."""
    work = str(played.world.work)
    fetched = played.record("clone", "-q", "URL", str(played.place / "a"))
    played.world.commit("to push")
    pushed = played.record("-C", work, "push", "URL", "main")
    chosen = random.Random(5)
    for chunks, first in ((fetched, ASK), (pushed, b"git-receive-pack /org/repo.git\0host=h\0")):
        on = played.on(played.state(chunks, 2 if chunks is fetched else 0), "pool", "haves")
        on.tell = lambda text: None
        said = pkt(first) + stream_of(chunks, "i")
        whole = 0
        for _ in range(300):
            raw = bytearray(said)
            for _ in range(chosen.randrange(4)):
                at = chosen.randrange(len(raw))
                raw[at : at + chosen.randrange(3)] = chosen.randbytes(chosen.randrange(3))
            player = Player(on)
            at, out = 0, b""
            while at < len(raw) and not player.over:
                step = chosen.choice((1, 5, 100, 1 << 16))
                out += b"".join(player.receive(bytes(raw[at : at + step])))
                at += step
            player.close()
            assert on.spooled == 0
            whole += bytes(raw) == said
            for line in Pkts(Side.UPSTREAM, V2).lines(out):
                assert line
        assert whole > 10


@pytest.mark.parametrize("limit", ["IDLE", "REQUEST"])
def test_clients_that_take_their_time(
    clone: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    args = argparse.Namespace(mode="pool", exact=False, normalise=[])
    on = serve_git.repertoire(open_recording(clone, ULIDS[0]), args)
    monkeypatch.setattr(serve_git, limit, 0.05)
    with serving(on) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10)
        try:
            if limit == "REQUEST":
                for byte in pkt(b"git-upload-pack /" + b"x" * 60_000)[:5000]:
                    sock.send(bytes([byte]))
                    time.sleep(0.001)
            assert sock.recv(1) == b""
        except ConnectionError:
            pass  # it hung up while we spoke


def test_archives_and_deletions(played: Played, tmp_path: Path) -> None:
    asked = pkt(b"argument --format=tar") + pkt(b"argument main") + FLUSH
    got = pkt(b"ACK") + FLUSH + pkt(b"\1tar") + FLUSH
    chunks = [Chunk("x", b"git-upload-archive 'a'"), Chunk("i", asked), Chunk("o", got)]
    on = played.on(played.state(chunks, 0))
    player = Player(on)
    assert not b"".join(player.receive(pkt(b"git-upload-archive /org/repo.git\0host=h\0")))
    assert b"".join(player.receive(asked)) == got
    assert player.over
    player = Player(on)
    out = b"".join(player.receive(pkt(b"git-upload-archive /org/repo.git\0host=h\0") + FLUSH))
    assert (out, player.over) == (b"", True)
    # No pack comes with these.
    work = str(played.world.work)
    played.world.at("push", "-q", str(played.world.bare), "main:a", "main:b")
    push = ("-C", work, "push", "URL", ":a", ":b")
    chunks = played.record(*push)
    on = played.on(played.state(chunks, 0))
    assert on.conversation.exchanges[0].pack is None
    assert "[deleted]         a" in (said := played.git(on, *push)), said
    assert "rejected" in played.git(on, *push[:-1])
    assert on.misses == 1
    # Whoever wants nothing has missed nothing.
    assert "refs/heads/main" in played.git(
        on, "-C", work, "push", "-n", "--porcelain", "URL", "main"
    )
    assert on.misses == 1


def test_clients_without_multi_ack(played: Played, tmp_path: Path) -> None:
    """One ACK is all that they get, and nothing for the batches behind it."""
    oids = [played.world.at("rev-parse", f"main~{n}").strip().encode() for n in range(3)]
    none = b"2" * 40
    line = pkt(oids[0] + b" refs/heads/main\0 side-band-64k agent=x\n") + FLUSH
    want = pkt(b"want " + oids[0] + b" side-band-64k agent=y\n") + FLUSH
    batches = [pkt(b"have " + none + b"\n") + FLUSH, pkt(b"have " + oids[1] + b"\n") + FLUSH,
               pkt(b"have " + oids[2] + b"\n") + FLUSH, pkt(b"done\n")]  # fmt: skip
    answers = [pkt(b"NAK\n"), pkt(b"ACK " + oids[1] + b"\n"), b"", pkt(b"\1PACK...") + FLUSH]
    chunks = [Chunk("x", b"git-upload-pack 'a'"), Chunk("o", line),
              Chunk("i", want + b"".join(batches)), Chunk("o", b"".join(answers))]  # fmt: skip
    on = played.on(played.state(chunks, 0))
    player = Player(on)
    ask = pkt(b"git-upload-pack /org/repo.git\0host=h\0")
    assert b"".join(player.receive(ask + want)) == line
    for batch, answer in zip(batches, answers, strict=True):
        assert not player.over
        assert b"".join(player.receive(batch)) == answer
    assert player.over
    # No batch stands for itself, not even where any exchange may come.
    for batch in batches[1:]:
        player = Player(played.on(played.state(chunks, 0), "pool"))
        assert b"this was not recorded" in b"".join(player.receive(ask + want + batch))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    played = Played(tmp_path_factory.mktemp("clone"))
    return played.state(played.record("clone", "-q", "URL", str(played.place / "a")))


def test_the_command(clone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--dir", str(clone), "serve", ULIDS[0], "--listen"]
    other = make_journal(tmp_path)
    play_session(other, ULIDS[1])
    other.close()
    of_postgres = ["--dir", str(tmp_path), "serve", ULIDS[1], "--listen", "127.0.0.1:0", "--exact"]
    assert main(of_postgres) == 2
    assert "are for git" in capfd.readouterr().err
    assert main([*words, "0.0.0.0:0"]) == 2
    assert "--to-anyone" in capfd.readouterr().err
    codes: list[int] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = [*words, f"127.0.0.1:{port}", "--once"]
    server = threading.Thread(target=lambda: codes.append(main(run)), daemon=True)
    server.start()
    said = err = ""
    while server.is_alive() and ("then: " not in err or "on record" not in said):
        told = capfd.readouterr()
        said, err = said + told.out, err + told.err
    assert f"127.0.0.1:{port}  2 requests on record" in said
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(pkt(b"git-upload-pack /org/repo\0host=h\0\0version=0\0"))
        answer = b""
        while more := sock.recv(4096):
            answer += more
    server.join(10)
    assert b"ERR this was not recorded: it was asked with version 2" in answer
    assert codes == [5]
    err += capfd.readouterr().err
    assert "git-upload-pack, version 2, sha1: git://127.0.0.1:" in err
    assert "then: exit status 0" in err
    assert "1 requests were not on record" in err
