"""Both legs of a git session, byte by byte, as git and its server saw them, against what
the recorder says; with keys exchanged anew on the way."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from git_stack import GitStack, Route, Work

from gateway.demo.git_client import GitClient
from gateway.demo.postgres import NoServer
from gateway.demo.ssh_server import SshServer, _descendants

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-bytes")]

TEE = Path(__file__).parents[1] / "git_tee.py"
SMALL_MB = 12
LARGE_MB = 200
MOST_GROWTH = 40 << 20
"""Bytes by which a worker may grow for one session of any size."""

FORCE = """\
#!/bin/sh
exec {python} {tee} {folder} -- git-shell -c "$SSH_ORIGINAL_COMMAND"
"""


class Witnessed:
    """A route whose two ends are written down: ``near`` and ``far`` are the folders of
    git_tee.py."""

    def __init__(self, route: Route, near: Path, far: Path) -> None:
        self.route, self.near, self.far = route, near, far
        self.stack: GitStack = route.stack  # type: ignore[assignment]
        self.client: GitClient = route.new_client(extra="RekeyLimit 2M\n")
        command = f"{shlex.quote(sys.executable)} {TEE} {near} -- {self.client.ssh_command}"
        self.environment = {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}

    def git(self, work: Work | None, *words: str | Path, code: int = 0) -> str:
        where = work.folder if work is not None else None
        done = self.client.run(*words, cwd=where, environment=self.environment, timeout=300)
        assert done.returncode == code, done.stdout
        return done.stdout

    def compare(self, service: str) -> None:
        """The newest session said on its legs what the two ends heard and said."""
        near = newest(self.near, service)
        far = newest(self.far, service)
        name = self.session()
        for stream in ("stdin", "stdout", "stderr"):
            for leg, folder in (("client", near), ("upstream", far)):
                with (folder / "recorded").open("wb") as out:
                    done = subprocess.run(
                        [
                            sys.executable, "-m", "recorder.cli", "cat",
                            "--key", str(self.near.parent / "auditor.key"),
                            "--stream", stream, "--leg", leg, name,
                        ],
                        stdout=out,
                        stderr=subprocess.PIPE,
                        env=os.environ | {"WIREWARDEN_STATE": str(self.stack.state)},
                        check=False,
                    )  # fmt: skip
                assert done.returncode == 0, done.stderr
                same = (folder / stream).read_bytes() == (folder / "recorded").read_bytes()
                assert same, f"{stream} of the {leg} leg"

    def session(self) -> str:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            last = self.stack.sessions()[-1]
            if last["status"] != "open":
                return str(last["session"])
            time.sleep(0.1)
        raise AssertionError("the session does not end")


def newest(folder: Path, service: str) -> Path:
    found = [path for path in sorted(folder.iterdir()) if service in (path / "line").read_text()]
    return found[-1]


@pytest.fixture(scope="module")
def witnessed(
    tmp_path_factory: pytest.TempPathFactory, git_gateways: Callable[..., GitStack]
) -> Iterator[Witnessed]:
    folder = tmp_path_factory.mktemp("witness")
    near, far, script = folder / "near", folder / "far", folder / "force"
    near.mkdir()
    far.mkdir()
    script.write_text(FORCE.format(python=sys.executable, tee=TEE, folder=far))
    script.chmod(0o755)
    try:
        server = SshServer(settings={"ForceCommand": str(script)}).start()
    except NoServer as error:
        pytest.skip(str(error))
    try:
        line = [sys.executable, "-m", "recorder.cli", "keys", "new", str(folder)]
        subprocess.run(line, check=True, capture_output=True)
        sealed = f'originals = "seal"\nauditors = ["{folder}/auditor.pub"]'
        stack = git_gateways(server=server, recording=sealed)
        yield Witnessed(Route(server, folder / "clients", stack), near, far)
    finally:
        server.stop()


def both_ways(at: Witnessed, megabytes: int) -> None:
    name = at.route.repository()
    work = at.route.new_work(name, client=at.client)
    work.commit("heavy.bin", os.urandom(megabytes * 1_000_000))
    at.git(work, "push", "origin", "main")
    at.compare("git-receive-pack")
    assert at.route.refs(name) == {"refs/heads/main": work.id()}
    copy = at.client.folder / f"copy-{name.replace('/', '-')}"
    at.git(None, "clone", "-q", at.route.url(name), copy)
    at.compare("git-upload-pack")
    assert Work(at.client, copy).id() == work.id()
    at.route.sound(name)


def test_a_push_and_a_clone(witnessed: Witnessed) -> None:
    both_ways(witnessed, SMALL_MB)


def test_what_a_hook_says_and_a_refusal(witnessed: Witnessed) -> None:
    name, work = witnessed.route.seeded(1)
    hook = witnessed.route.server.root / f"{name}.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho to-out; echo to-err >&2; printf 'no newline' >&2; exit 1\n")
    hook.chmod(0o755)
    work.commit("more", "x\n")
    said = witnessed.git(work, "push", "origin", "main", code=1)
    for word in ("to-out", "to-err", "no newline", "pre-receive hook declined"):
        assert word in said
    witnessed.compare("git-receive-pack")


def test_a_service_that_dies_by_a_signal(witnessed: Witnessed) -> None:
    name, work = witnessed.route.seeded(1)
    hook = witnessed.route.server.root / f"{name}.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho dying >&2\nkill -KILL $PPID\nsleep 0.2\n")
    hook.chmod(0o755)
    work.commit("more", "x\n")
    before = witnessed.route.refs(name)
    done = witnessed.client.run(
        "push", "origin", "main", cwd=work.folder, environment=witnessed.environment
    )
    assert done.returncode, done.stdout
    assert witnessed.route.refs(name) == before
    witnessed.compare("git-receive-pack")


@pytest.mark.deep
def test_large_ones_in_flat_memory(witnessed: Witnessed) -> None:
    peak: dict[int, int] = {}
    over = threading.Event()
    assert witnessed.stack.process is not None
    top = witnessed.stack.process.pid

    def resident(pid: int) -> int:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    workers = (top, *_descendants(top))  # before a quarantine is among them
    before = {pid: resident(pid) for pid in workers}

    def watch() -> None:
        while not over.wait(0.05):
            for pid in workers:
                peak[pid] = max(peak.get(pid, 0), resident(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        both_ways(witnessed, LARGE_MB)
    finally:
        over.set()
        watching.join()
    for pid in workers:
        assert peak[pid] - before[pid] < MOST_GROWTH
