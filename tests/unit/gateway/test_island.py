"""The island between a real ssh client and a real sshd, with a gateway of a few lines."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
import trio
from ssh_gate import USER, Gate, Leg, Ssh, Sshd, keygen, open_gate, real_sshd

from gateway.host_key import load_host_key, make_host_key
from gateway.island import Island
from protocols.ssh.frames import Kind, texts
from protocols.wire import Side


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with real_sshd(tmp_path_factory.mktemp("sshd") / "here") as server:
        yield server


@pytest.fixture(scope="module")
def gate(sshd: Sshd) -> Iterator[Gate]:
    with open_gate(Gate(sshd)) as made:
        yield made


@pytest.fixture
def ssh(gate: Gate, tmp_path: Path) -> Ssh:
    gate.heard.clear()
    gate.alarms.clear()
    return Ssh(gate, tmp_path, keygen(tmp_path / "me"))


def wait_for(what: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def bodies(gate: Gate, kind: Kind) -> list[bytes]:
    return [body for said, body in gate.heard if said is kind]


def at(folder: Path, gate: Gate) -> Ssh:
    return Ssh(gate, folder, keygen(folder / f"key{gate.port}"))


# -- what passes ---------------------------------------------------------------


def test_output_errors_and_exit_status_arrive(ssh: Ssh) -> None:
    done = ssh.run("echo out; echo err >&2; exit 37")
    assert (done.returncode, done.stdout, done.stderr) == (37, b"out\n", b"err\n")
    assert [said.kind for said in ssh.gate.heard] == [Kind.HELLO, Kind.KEY, Kind.EXEC]
    public = (ssh.folder / "me.pub").read_text().split()[1]
    assert bodies(ssh.gate, Kind.KEY) == [
        asyncssh.import_public_key(f"ssh-ed25519 {public}").public_data
    ]
    assert bodies(ssh.gate, Kind.HELLO) == [b"git"]
    assert ssh.gate.alarms == []


def test_input_and_output_at_once_are_unchanged_and_half_close_works(ssh: Ssh) -> None:
    sent = os.urandom(6 << 20)
    done = ssh.run("cat; echo end", input=sent)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(sent + b"end\n").digest()


def test_keys_are_exchanged_anew_under_load(sshd: Sshd, tmp_path: Path) -> None:
    with open_gate(Gate(sshd, options={"rekey_bytes": 1 << 20})) as gate:
        sent = os.urandom(8 << 20)
        done = at(tmp_path, gate).run("-oRekeyLimit=1M", "cat", input=sent)
    assert done.returncode == 0
    assert done.stdout == sent


@pytest.mark.parametrize(
    "cipher",
    ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"],
)
def test_each_cipher_works(ssh: Ssh, cipher: str) -> None:
    assert ssh.run("-c", cipher, "echo hello").stdout == b"hello\n"


def test_a_signal_that_ends_the_command_is_told(sshd: Sshd, gate: Gate) -> None:
    frames = upstream(gate, sshd, b"kill -TERM $$")
    assert (Kind.SIGNAL, b"TERM") in frames
    assert frames[-1][0] in (Kind.EOF, Kind.SIGNAL)


def test_a_signal_reaches_the_client(sshd: Sshd, tmp_path: Path) -> None:
    async def act(leg: Leg, command: bytes) -> None:
        await leg.put(Kind.STARTED)
        await leg.put(Kind.SIGNAL, b"KILL")
        await leg.put(Kind.EOF)
        await leg.get()

    async def ask(port: int) -> object:
        async with client(port, tmp_path) as conn:
            return (await conn.run("x", encoding=None)).exit_signal

    with open_gate(Gate(sshd, act=act)) as gate:
        assert asyncio.run(ask(gate.port)) == ("KILL", False, "", "")


def test_git_protocol_passes_and_no_other_variable(ssh: Ssh) -> None:
    done = ssh.run(
        "-oSetEnv=GIT_PROTOCOL=version=2 HOSTILE=1", "echo $GIT_PROTOCOL/$HOSTILE",
        env={**os.environ, "LANG": "C"},
    )  # fmt: skip
    assert done.stdout == b"version=2/\n"
    assert bodies(ssh.gate, Kind.ENV) == [b"version=2"]
    assert bodies(ssh.gate, Kind.REFUSED) == [b"env HOSTILE"]


def test_git_clones_and_pushes(ssh: Ssh, tmp_path: Path) -> None:
    origin, copy = tmp_path / "origin.git", tmp_path / "copy"
    env = {
        **os.environ,
        "GIT_SSH_COMMAND": " ".join(ssh.line("")[:-4]),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip

    def git(*line: str) -> bytes:
        done = subprocess.run(["git", *line], env=env, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    git("init", "-q", "--bare", "-b", "main", str(origin))
    git("clone", "-q", f"ssh://git@127.0.0.1:{ssh.gate.port}{origin}", str(copy))
    (copy / "big").write_bytes(os.urandom(1 << 20))
    git("-C", str(copy), "add", "big")
    git("-C", str(copy), "commit", "-q", "-m", "big")
    git("-C", str(copy), "push", "-q", "origin", "HEAD:main")
    assert git("-C", str(origin), "rev-parse", "main") == git("-C", str(copy), "rev-parse", "HEAD")


# -- logins --------------------------------------------------------------------


class Person(asyncssh.SSHClient):
    """Types ``answers`` at prompts."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers
        self.prompts: list[str] = []

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):  # type: ignore[no-untyped-def]
        self.prompts += [prompt for prompt, _ in prompts]
        return [self.answers.pop(0) for _ in prompts] if self.answers or not prompts else None


def client(port: int, folder: Path, **options: object) -> asyncssh.SSHClientConnection:
    settings: dict[str, object] = {
        "known_hosts": None, "username": "git", "config": None, "agent_path": None,
        "client_keys": [asyncssh.generate_private_key("ssh-ed25519")],
    }  # fmt: skip
    return asyncssh.connect("127.0.0.1", port, **{**settings, **options})


async def _output(port: int, folder: Path, **options: object) -> str:
    async with client(port, folder, **options) as conn:
        return str((await conn.run("echo in")).stdout)


def test_a_password_is_a_secret(gate: Gate, tmp_path: Path) -> None:
    gate.heard.clear()
    options = {"client_keys": None, "password": "open sesame", "preferred_auth": ["password"]}
    assert asyncio.run(_output(gate.port, tmp_path, **options)) == "in\n"
    assert bodies(gate, Kind.SECRET) == [b"open sesame"]
    assert bodies(gate, Kind.KEY) == []


def test_a_prompt_asks_once_more_after_a_wrong_answer(gate: Gate, tmp_path: Path) -> None:
    gate.heard.clear()
    person = Person(["wrong", "open sesame"])
    options = {
        "client_keys": None, "client_factory": lambda: person,
        "preferred_auth": ["keyboard-interactive"],
    }  # fmt: skip
    assert asyncio.run(_output(gate.port, tmp_path, **options)) == "in\n"
    assert person.prompts == ["Ticket or token: "] * 2
    assert bodies(gate, Kind.SECRET) == [b"wrong", b"open sesame"]


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.KEY])
def test_a_denial_reaches_the_client_in_words(sshd: Sshd, tmp_path: Path, kind: Kind) -> None:
    with open_gate(Gate(sshd, deny={kind: b"not today (session s1)"})) as gate:
        done = at(tmp_path, gate).run("echo in")
    assert done.returncode == 255
    assert b"not today (session s1)" in done.stderr
    assert not bodies(gate, Kind.EXEC)


def test_a_key_that_is_not_accepted_is_not_signed_with(sshd: Sshd, tmp_path: Path) -> None:
    with open_gate(Gate(sshd, accepts=lambda key, peer: False)) as gate:
        done = at(tmp_path, gate).run("echo in")
        wait_for(lambda: gate.ended)
    assert b"Permission denied (publickey,keyboard-interactive,password)" in done.stderr
    assert [said.kind for said in gate.heard] == [Kind.HELLO, Kind.REFUSED]
    assert bodies(gate, Kind.REFUSED)[0].startswith(b"key SHA256:")


def test_a_certificate_is_given_as_it_is_and_its_options_do_nothing(
    sshd: Sshd, tmp_path: Path
) -> None:
    ca, key = keygen(tmp_path / "ca"), keygen(tmp_path / "me")
    line = ["ssh-keygen", "-q", "-s", str(ca), "-I", "id", "-n", "somebody-else"]
    line += ["-O", "force-command=echo forced", "-O", "source-address=192.0.2.1"]
    subprocess.run([*line, str(tmp_path / "me.pub")], check=True)
    with open_gate(Gate(sshd, accepts=lambda key, peer: b"-cert-v01@" in key[:40])) as gate:
        done = Ssh(gate, tmp_path, key).run("echo asked")
    assert done.stdout == b"asked\n"
    certificate = (tmp_path / "me-cert.pub").read_text()
    assert bodies(gate, Kind.KEY) == [asyncssh.import_certificate(certificate).public_data]


def test_rsa_keys_are_taken_with_sha2_only_and_not_weak_ones(ssh: Ssh, tmp_path: Path) -> None:
    for bits, good in ((1024, False), (2048, True)):
        key = tmp_path / f"rsa{bits}"
        line = ["ssh-keygen", "-q", "-t", "rsa", "-b", str(bits), "-N", "", "-f", str(key)]
        subprocess.run(line, check=True)
        done = Ssh(ssh.gate, tmp_path, key).run("-oRequiredRSASize=1024", "echo in")
        assert (done.stdout == b"in\n") is good
    done = Ssh(ssh.gate, tmp_path, key).run("-oPubkeyAcceptedAlgorithms=ssh-rsa", "echo in")
    assert done.returncode == 255


# -- what does not -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("-tt",), b"pty-req"),
        (("-R0:127.0.0.1:1",), b"tcpip-forward"),
        (("-s",), b"subsystem"),
    ],
)
def test_all_else_is_refused_and_told(ssh: Ssh, options: tuple[str, ...], refused: bytes) -> None:
    ssh.run(*options, "echo in")
    wait_for(lambda: refused in bodies(ssh.gate, Kind.REFUSED))


def test_a_second_session_is_refused_and_the_client_falls_back(ssh: Ssh) -> None:
    shared = (f"-oControlPath={ssh.folder / 'm'}", "-oControlPersist=no")
    line = ssh.line(*shared, "-oControlMaster=yes", "echo up; cat")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == b"up\n"
        done = ssh.run(*shared, "echo second")
        first.stdin.close()
        assert first.wait(10) == 0
    assert b"second session" in bodies(ssh.gate, Kind.REFUSED)
    assert done.stdout == b"second\n"


def test_a_refused_command_says_why_and_ends_with_128(sshd: Sshd, tmp_path: Path) -> None:
    for kind in (Kind.DENIED, Kind.GOODBYE):

        async def act(leg: Leg, command: bytes, kind: Kind = kind) -> None:
            await leg.put(kind, b"no: rule 7 (session s1)")

        with open_gate(Gate(sshd, act=act)) as gate:
            done = at(tmp_path, gate).run("git-upload-pack 'x'")
        assert (done.returncode, done.stdout) == (128, b"")
        assert done.stderr == b"no: rule 7 (session s1)\n"


def test_goodbye_in_the_middle_comes_after_what_was_sent(sshd: Sshd, tmp_path: Path) -> None:
    async def act(leg: Leg, command: bytes) -> None:
        await leg.put(Kind.STARTED)
        for _ in range(64):
            await leg.put(Kind.DATA, bytes(1 << 16))
        await leg.put(Kind.GOODBYE, b"time is up")

    with open_gate(Gate(sshd, act=act)) as gate:
        done = at(tmp_path, gate).run("x")
    assert done.returncode == 128
    assert len(done.stdout) == 64 << 16
    assert done.stderr == b"time is up\n"


# -- ends ----------------------------------------------------------------------


def test_the_gateways_end_closed_drops_the_client(sshd: Sshd, tmp_path: Path) -> None:
    async def act(leg: Leg, command: bytes) -> None:
        await leg.put(Kind.STARTED)
        await leg.put(Kind.DATA, b"half")

    with open_gate(Gate(sshd, act=act)) as gate:
        start = time.monotonic()
        done = at(tmp_path, gate).run("x")
    assert (done.returncode, done.stdout) == (255, b"half")
    assert time.monotonic() - start < 5


def test_a_client_that_dies_ends_both_legs(ssh: Ssh) -> None:
    ended = ssh.gate.ended
    with subprocess.Popen(
        ssh.line("echo up; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    wait_for(lambda: ssh.gate.ended > ended)
    wait_for(lambda: not ssh.gate.island.connections)


def test_a_client_that_stops_answering_is_dropped(sshd: Sshd, tmp_path: Path) -> None:
    with open_gate(Gate(sshd, options={"keepalive_seconds": 0.1})) as gate:
        line = at(tmp_path, gate).line("echo up; cat")
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            time.sleep(1.0)  # one that answers stays
            assert gate.ended == 0
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: gate.ended)
            process.kill()


def test_cancelling_drops_everything_and_joins_the_thread(sshd: Sshd, tmp_path: Path) -> None:
    running = sum(thread.name == "ssh" for thread in threading.enumerate())
    with open_gate(Gate(sshd)) as gate:
        line = at(tmp_path, gate).line("echo up; cat")
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
    assert process.wait(10) == 255
    assert gate.island.loop.is_closed()
    assert sum(thread.name == "ssh" for thread in threading.enumerate()) == running
    left, right = socket.socketpair()
    end = gate.island.serve(left, gate.host_key, "x", gate.accepts)
    assert end.recv(1) == b""
    assert right.recv(1) == b""


def test_a_loop_that_ends_is_an_error() -> None:
    async def main() -> None:
        island = Island(lambda kind, text: None)
        async with trio.open_nursery() as nursery:
            await nursery.start(island.run)
            island.loop.call_soon_threadsafe(island.loop.stop)

    with pytest.raises(BaseExceptionGroup) as raised:
        trio.run(main)
    assert raised.group_contains(RuntimeError, match="the SSH loop ended")


# -- how much ------------------------------------------------------------------


def test_a_gateway_that_does_not_read_stops_the_client(sshd: Sshd, tmp_path: Path) -> None:
    async def act(leg: Leg, command: bytes) -> None:
        await leg.put(Kind.STARTED)
        await trio.sleep(1.5)

    with open_gate(Gate(sshd, act=act)) as gate:
        line = at(tmp_path, gate).line("x")
        with Path("/dev/zero").open("rb") as endless:
            process = subprocess.Popen(line, stdin=endless)
        wait_for(lambda: bodies(gate, Kind.EXEC))
        time.sleep(1.0)
        read = Path(f"/proc/{process.pid}/io").read_text()
        process.wait(10)
    sent = int(next(line for line in read.splitlines() if line.startswith("wchar")).split()[1])
    assert 1 << 20 < sent < 12 << 20


def test_a_client_that_does_not_read_stops_the_gateway(sshd: Sshd, tmp_path: Path) -> None:
    sent = 0

    async def act(leg: Leg, command: bytes) -> None:
        nonlocal sent
        await leg.put(Kind.STARTED)
        with trio.move_on_after(1.5):
            while True:
                await leg.put(Kind.DATA, bytes(1 << 16))
                sent += 1 << 16

    with open_gate(Gate(sshd, act=act)) as gate:
        start = time.monotonic()
        process = subprocess.Popen(at(tmp_path, gate).line("x"), stdout=subprocess.PIPE)
        wait_for(lambda: gate.ended)
        # The end of the gateway's side is seen though nothing more is read from it.
        wait_for(lambda: not gate.island.connections, 5)
        assert time.monotonic() - start < 8
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert 1 << 20 < sent < 12 << 20


@pytest.mark.parametrize("trick", ["deaf", "new keys"])
def test_a_huge_window_does_not_make_the_island_hoard(
    sshd: Sshd, tmp_path: Path, trick: str
) -> None:
    """A client may allow a gigabyte and then read no byte of it, or begin an exchange of
    keys and never end it, while which nothing may be sent."""
    sent = 0

    async def act(leg: Leg, command: bytes) -> None:
        nonlocal sent
        await leg.put(Kind.STARTED)
        await trio.sleep(0.3)
        with trio.move_on_after(1.0):
            while True:
                await leg.put(Kind.DATA, bytes(1 << 16))
                sent += 1 << 16

    async def script(gate: Gate) -> None:
        async with client(gate.port, tmp_path) as conn:
            await conn.create_process("x", window=1 << 30, encoding=None)
            if trick == "new keys":
                conn._send_kexinit()
            conn._transport.pause_reading()
            while not gate.ended:
                await asyncio.sleep(0.05)
            conn.abort()

    with open_gate(Gate(sshd, act=act)) as gate:
        asyncio.run(script(gate))
    assert sent < 12 << 20


# -- the upstream leg ----------------------------------------------------------


def upstream(gate: Gate, sshd: Sshd, command: bytes) -> list[tuple[Kind, bytes]]:
    """The frames of one command on an upstream leg, from STARTED on."""

    async def main() -> list[tuple[Kind, bytes]]:
        up = await gate.dial(sshd)
        assert isinstance(up, Leg), up
        await up.put(Kind.EXEC, command)
        out = []
        while (said := await up.get()) is not None:
            out.append(tuple(said))
        up.close()
        return out  # type: ignore[return-value]

    return trio.run(main)


def test_an_upstream_leg_ends_with_an_end_of_output(sshd: Sshd, gate: Gate) -> None:
    frames = upstream(gate, sshd, b"echo out; echo err >&2; exit 200")
    assert frames[0] == (Kind.STARTED, b"")
    assert set(frames[1:]) == {
        (Kind.DATA, b"out\n"), (Kind.STDERR, b"err\n"), (Kind.EXIT, b"\0\0\0\xc8"), (Kind.EOF, b""),
    }  # fmt: skip


def test_nothing_is_lost_when_the_upstream_ends(sshd: Sshd, gate: Gate) -> None:
    frames = upstream(gate, sshd, b"head -c 3000000 /dev/zero; sleep 1; kill -9 $PPID")
    assert sum(len(body) for kind, body in frames if kind is Kind.DATA) == 3000000
    assert frames[-1][0] is Kind.FAILED
    assert b"ended the connection" in frames[-1][1]


@pytest.mark.parametrize("pinned", ["none", "another", "unreadable"])
def test_a_host_key_that_is_not_pinned_is_refused_before_a_login(
    sshd: Sshd, gate: Gate, pinned: str
) -> None:
    pins = {"none": [], "another": [make_host_key().public], "unreadable": ["ssh-ed25519 !"]}

    async def main() -> list[tuple[Kind, bytes]]:
        sock = socket.create_connection(("127.0.0.1", sshd.port))
        up = Leg(gate.island.connect(sock, pins[pinned], "127.0.0.1"), Side.UPSTREAM)
        out = []
        while (said := await up.get()) is not None:
            out.append(tuple(said))
        return out  # type: ignore[return-value]

    ((kind, why),) = trio.run(main)
    assert kind is Kind.FAILED
    seen = load_host_key(sshd.key.parent / "host").fingerprint.encode()
    expected = {
        "none": b"no host key is pinned", "another": b"host key " + seen + b" is not pinned",
        "unreadable": b"can't be read",
    }  # fmt: skip
    assert expected[pinned] in why


def test_a_host_certificate_of_a_pinned_authority_is_good(gate: Gate, tmp_path: Path) -> None:
    ca = keygen(tmp_path / "ca")
    for principal, good in (("127.0.0.1", True), ("elsewhere", False)):
        with real_sshd(tmp_path / principal, authority=ca, principal=principal) as server:
            server.pins = ["@cert-authority " + (tmp_path / "ca.pub").read_text()]

            async def main(server: Sshd = server) -> Leg | bytes:
                return await gate.dial(server)

            assert isinstance(trio.run(main), Leg) is good


def test_a_login_that_the_upstream_refuses_is_told(sshd: Sshd, gate: Gate, tmp_path: Path) -> None:
    stranger = Sshd(sshd.port, keygen(tmp_path / "stranger"), sshd.pins)

    async def main() -> Leg | bytes:
        return await gate.dial(stranger)

    why = trio.run(main)
    assert isinstance(why, bytes)
    assert b"the upstream refused the login" in why


def test_a_key_that_cannot_be_used_is_not_quoted(sshd: Sshd, gate: Gate) -> None:
    async def main() -> bytes:
        sock = socket.create_connection(("127.0.0.1", sshd.port))
        up = Leg(gate.island.connect(sock, sshd.pins, "127.0.0.1"), Side.UPSTREAM)
        assert (await up.get()).kind is Kind.READY  # type: ignore[union-attr]
        await up.put(Kind.LOGIN, texts(USER.encode(), b"my secret key", b""))
        said = await up.get()
        assert said is not None
        return said.body

    why = trio.run(main)
    assert b"can't be used" in why
    assert b"secret" not in why


# -- keys of listeners ---------------------------------------------------------


def test_host_keys_are_made_and_loaded(tmp_path: Path) -> None:
    made = make_host_key()
    path = tmp_path / "key"
    path.write_bytes(made.private)
    assert load_host_key(path) == load_host_key(made.private) == made
    assert made.public.startswith("ssh-ed25519 ")
    assert "PRIVATE" not in repr(made)
    path.chmod(0o600)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, check=True)
    assert made.fingerprint.encode() in shown.stdout


def test_a_host_key_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        load_host_key(tmp_path / "missing")
    with pytest.raises(ValueError, match="not a private key"):
        load_host_key(b"nonsense")
    keys = {
        "locked": ["-t", "ed25519", "-N", "word"],
        "short": ["-t", "rsa", "-b", "2048", "-N", ""],
    }
    for name, more in keys.items():
        subprocess.run(["ssh-keygen", "-q", *more, "-f", str(tmp_path / name)], check=True)
    with pytest.raises(ValueError, match="passphrase"):
        load_host_key(tmp_path / "locked")
    with pytest.raises(ValueError, match="2048 bits"):
        load_host_key(tmp_path / "short")


def test_ssh_audit_finds_nothing(gate: Gate) -> None:
    audit = Path(os.sys.executable).parent / "ssh-audit"  # type: ignore[attr-defined]
    if not audit.exists():
        pytest.skip("ssh-audit is not installed")
    line = [str(audit), "-n", "--skip-rate-test", "-p", str(gate.port), "127.0.0.1"]
    told = subprocess.run(line, capture_output=True, timeout=60, check=False, text=True).stdout
    assert "(enc) aes256-gcm@openssh.com" in told
    assert "[fail]" not in told
    # Clients before OpenSSH 9.9 have no post-quantum exchange that we have.
    warned = [line for line in told.splitlines() if "[warn]" in line]
    assert all("post-quantum" in line and "curve25519" in line for line in warned)
