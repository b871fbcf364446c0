"""A gateway of a few lines behind an island, with a real sshd, for tests and bench."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from gateway.host_key import HostKey, make_host_key
from gateway.island import Island
from protocols.ssh.frames import HEADER, Frame, Frames, Kind, frame, texts
from protocols.wire import Side

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
USER = pwd.getpwuid(os.getuid()).pw_name
QUICK = [
    "-F/dev/null", "-oBatchMode=yes", "-oIdentityAgent=none", "-oIdentitiesOnly=yes",
    "-oGlobalKnownHostsFile=/dev/null", "-oPreferredAuthentications=publickey", "-T",
]  # fmt: skip


def keygen(path: Path, *more: str) -> Path:
    """A new Ed25519 key at ``path``."""
    line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path), *more]
    subprocess.run(line, check=True)
    return path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Sshd:
    """A real server that lets ``key`` in."""

    port: int
    key: Path
    pins: list[str]


@contextmanager
def real_sshd(
    folder: Path, *options: str, authority: Path | None = None, principal: str = ""
) -> Iterator[Sshd]:
    """OpenSSH's, in the foreground, on a port of its own. With an ``authority`` its host
    key is certified for ``principal``."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    host, key = keygen(folder / "host"), keygen(folder / "client")
    if authority is not None:
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", "-n", principal]
        subprocess.run([*sign, str(folder / "host.pub")], check=True)
        options = (*options, f"HostCertificate {folder / 'host-cert.pub'}")
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    port = free_port()
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": str(host),
        "AuthorizedKeysFile": str(folder / "authorized"),
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AcceptEnv": "GIT_PROTOCOL",
        "PidFile": "none",
        "MaxStartups": "100",
    }
    text = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "config").write_text(text + "".join(line + "\n" for line in options))
    line = [SSHD, "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, stderr=log)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield Sshd(port, key, [(folder / "host.pub").read_text().rsplit(" ", 1)[0]])
    finally:
        process.terminate()
        process.wait()


class Leg:
    """The gateway's end of a leg, spoken to in frames."""

    def __init__(self, sock: socket.socket, side: Side) -> None:
        self.sock = trio.socket.from_stdlib_socket(sock)
        self.frames = Frames(side)
        self.ready: list[Frame] = []

    async def get(self) -> Frame | None:
        """The next frame, None at the end."""
        while not self.ready:
            try:
                raw = await self.sock.recv(1 << 18)
            except OSError:
                raw = b""
            if not raw:
                return None
            self.ready += self.frames.feed(raw)
        return self.ready.pop(0)

    async def put(self, kind: Kind, body: bytes = b"") -> None:
        await self.raw(frame(kind, body))

    async def raw(self, raw: bytes | memoryview) -> None:
        view = memoryview(raw)
        while view:
            view = view[await self.sock.send(view) :]

    def close(self) -> None:
        self.sock.close()


@dataclass
class Gate:
    """Lets in by ``accepts`` and by the secret ``good``, tells everything it heard in
    ``heard``, and relays an exec to ``sshd`` (or answers it with ``act``)."""

    sshd: Sshd | None = None
    host_key: HostKey = field(default_factory=make_host_key)
    accepts: Callable[[bytes, str], bool] = lambda key, peer: True
    good: bytes = b"open sesame"
    deny: dict[Kind, bytes] = field(default_factory=dict)
    act: Callable[[Leg, bytes], object] | None = None
    options: dict[str, object] = field(default_factory=dict)
    heard: list[Frame] = field(default_factory=list)
    alarms: list[tuple[str, str]] = field(default_factory=list)
    ended: int = 0
    port: int = 0
    wait: float = 0.0
    pins: list[str] | None = None
    island: Island = field(init=False)

    async def main(self, started: Callable[[], None], stop: trio.Event) -> None:
        def alarm(kind: str, text: str) -> None:
            self.alarms.append((kind, text))

        self.island = Island(alarm, **self.options)  # type: ignore[arg-type]
        door = trio.socket.socket()
        await door.bind(("127.0.0.1", 0))
        door.listen(128)
        self.port = door.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(self.island.run)
            nursery.start_soon(self._open, door)
            started()
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _open(self, door: trio.socket.SocketType) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                sock, peer = await door.accept()
                plain = socket.socket(fileno=sock.detach())
                end = self.island.serve(plain, self.host_key, peer[0], self.accepts)
                nursery.start_soon(self._session, Leg(end, Side.CLIENT))

    async def _session(self, leg: Leg) -> None:
        try:
            await self._converse(leg)
        except OSError:
            pass
        finally:
            leg.close()
            self.ended += 1

    async def _converse(self, leg: Leg) -> None:
        protocol = b""
        while (said := await leg.get()) is not None:
            kind, body = said
            self.heard.append(said)
            if kind in self.deny:
                await leg.put(Kind.DENIED, self.deny[kind])
            elif kind is Kind.HELLO:
                await leg.put(Kind.GREETED)
            elif kind is Kind.SECRET:
                await leg.put(Kind.PROVEN if body == self.good else Kind.DENIED, b"wrong")
            elif kind is Kind.KEY:
                await trio.sleep(self.wait)
                await leg.put(Kind.PROVEN)
            elif kind is Kind.ENV:
                protocol = body
            elif kind is Kind.EXEC and self.act is not None:
                await self.act(leg, body)  # type: ignore[misc]
                return
            elif kind is Kind.EXEC and self.sshd is not None:
                await self._relay(leg, protocol, body)
                return

    async def dial(self, sshd: Sshd, user: str = USER) -> Leg | bytes:
        """A leg to ``sshd`` that is logged in, or why not."""
        sock = socket.create_connection(("127.0.0.1", sshd.port))
        pins = sshd.pins if self.pins is None else self.pins
        up = Leg(self.island.connect(sock, pins, "127.0.0.1"), Side.UPSTREAM)
        said = await up.get()
        if said is not None and said.kind is Kind.READY:
            await up.put(Kind.LOGIN, texts(user.encode(), sshd.key.read_bytes(), b""))
            said = await up.get()
        if said is None or said.kind is not Kind.OPENED:
            up.close()
            return said.body if said else b"nothing"
        return up

    async def _relay(self, leg: Leg, protocol: bytes, command: bytes) -> None:
        assert self.sshd is not None
        up = await self.dial(self.sshd)
        if isinstance(up, bytes):
            await leg.put(Kind.GOODBYE, up)
            return
        if protocol:
            await up.put(Kind.ENV, protocol)
        await up.put(Kind.EXEC, command)
        said = await up.get()
        if said is None or said.kind is not Kind.STARTED:
            await leg.put(Kind.GOODBYE, said.body if said else b"nothing")
            up.close()
            return
        await leg.put(Kind.STARTED)
        async with trio.open_nursery() as nursery:

            async def one_way(source: Leg, sink: Leg) -> None:
                await pump(source, sink, self.heard)
                nursery.cancel_scope.cancel()

            nursery.start_soon(one_way, leg, up)
            await one_way(up, leg)
        up.close()


async def pump(source: Leg, sink: Leg, heard: list[Frame]) -> None:
    """Frames as they are, until the end; what was refused is heard, and stays here."""
    for said in source.ready:
        await sink.put(*said)
    source.ready.clear()
    try:
        while raw := await source.sock.recv(1 << 18):
            buffer, found = source.frames.cut(raw)
            start = 0
            for kind, at, end in found:
                if kind is Kind.REFUSED:
                    heard.append(Frame(kind, buffer[at + HEADER : end]))
                    await sink.raw(buffer[start:at])
                    start = end
            if found:
                await sink.raw(memoryview(buffer)[start : found[-1][2]])
    except OSError:
        return


@contextmanager
def open_gate(gate: Gate) -> Iterator[Gate]:
    """Run it in a thread."""
    ready = threading.Event()
    stop: list[Callable[[], None]] = []
    failed: list[BaseException] = []

    async def main() -> None:
        leave = trio.Event()
        token = trio.lowlevel.current_trio_token()
        stop.append(lambda: token.run_sync_soon(leave.set))
        await gate.main(ready.set, leave)

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        yield gate
    finally:
        stop[0]()
        thread.join(20)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


@dataclass
class Ssh:
    """The real client, with a key of its own and the gate's host key pinned."""

    gate: Gate
    folder: Path
    key: Path

    def line(self, *more: str, user: str = "git") -> list[str]:
        known = self.folder / "known"
        known.write_text(f"[127.0.0.1]:{self.gate.port} {self.gate.host_key.public}\n")
        known_hosts = f"-oUserKnownHostsFile={known}"
        where = ["-p", str(self.gate.port), f"{user}@127.0.0.1"]
        return ["ssh", *QUICK, known_hosts, "-i", str(self.key), *more[:-1], *where, more[-1]]

    def run(self, *more: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        user = str(options.pop("user", "git"))
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        return subprocess.run(
            self.line(*more, user=user), capture_output=True, timeout=60, check=False, **options
        )  # type: ignore[call-overload,no-any-return]
