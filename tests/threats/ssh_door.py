"""The door of a whole gateway: what came through it is read from the recordings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from git_stack import ALLOW_GIT, GitStack, Route
from ssh_wire import Door, new_key

from gateway.demo.ssh_server import SshServer, _descendants
from gateway.identity.keys import verifier_text
from protocols.ssh.frames import Frames, Kind
from protocols.wire import Side
from recorder.catalog import catalog
from recorder.errors import FormatError
from recorder.reader import open_recording
from recorder.records import Event
from recorder.streams import Hop, Piece, Streams

KNOWN = "alice"
"""A local principal with a password, for those who ask which names there are."""
LIMITS = """\
failed_proofs = 0
greeting = "{greeting}"
"""
PRINCIPALS = """
[principal.{known}]
password = "{verifier}"

[principal.victim]
ssh_keys = ["{keys[0]}"]

[principal.mallory]
ssh_keys = ["{keys[1]}"]
"""


@dataclass
class GateDoor(Door):
    """A ``Door`` to ``stack``. ``keys`` are registered, of the principals victim and mallory."""

    stack: GitStack = field(kw_only=True)
    server: SshServer = field(kw_only=True)
    keys: list[asyncssh.SSHKey] = field(kw_only=True)

    def events(self) -> list[Event]:
        """Of all sessions since ``forget``, once none is open."""
        return [told for session in self._sessions() for told in session if type(told) is Event]

    def identities(self) -> list[str]:
        """Who was let in since ``forget``."""
        told = [event for event in self.events() if event.kind == "identity"]
        return [str(event.fields["subject"]) for event in told]

    def recorded(self) -> int:
        """Sessions on record since ``forget``."""
        return len(self._settled())

    def dials(self) -> int:
        """Connections that the upstream has had."""
        return self.server.log().count("Connection from")

    def resident(self) -> int:
        """Bytes of memory of all its processes."""
        assert self.stack.process is not None
        top = self.stack.process.pid
        pages = 0
        for pid in (top, *_descendants(top)):
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _sessions(self) -> Iterator[list[Event | tuple[Kind, bytes]]]:
        for name in self._settled():
            try:
                yield list(_told(self.stack.state, name))
            except FormatError:
                continue  # cut from the journal while it was read

    def _settled(self, seconds: float = 5.0) -> list[str]:
        """New sessions, none of them open unless it stays so."""
        end = time.monotonic() + seconds
        while True:
            lines = [line for line in catalog(self.stack.state) if line.session not in self._old]
            open_ones = any(line.status == "open" for line in lines)
            if not open_ones or time.monotonic() > end:
                return sorted(line.session for line in lines)
            time.sleep(0.02)

    _old: set[str] = field(default_factory=set, kw_only=True)


def _told(state: Path, name: str) -> Iterator[Event | tuple[Kind, bytes]]:
    recording = open_recording(state, name)
    frames = Frames(Side.CLIENT)
    try:
        for said in Streams(recording).story(Hop(Side.CLIENT, True)):
            if isinstance(said, Piece):
                if said.raw is not None:
                    yield from (tuple(frame) for frame in frames.feed(said.raw))  # type: ignore[misc]
                continue
            if isinstance(said.entry, Event):
                yield said.entry
                tried = said.entry.kind == "identity-refused"
                if tried or said.entry.fields.get("method") == "secret":
                    yield Kind.SECRET, b""  # what it was is nowhere
    finally:
        recording.close()


def gateway_door(
    folder: Path,
    server: SshServer,
    *,
    greeting: str = "20s",
    policy: str = ALLOW_GIT,
    **more: object,
) -> GateDoor:
    """Start a gateway before ``server``; ``door.stack`` is to be stopped."""
    keys = [new_key() for _ in range(2)]
    lines = [key.export_public_key().decode().strip() for key in keys]
    principals = PRINCIPALS.format(
        known=KNOWN, verifier=verifier_text("a password", b"salt" * 4), keys=lines
    )
    limits = LIMITS.format(greeting=greeting) + str(more.pop("limits", ""))
    extra = principals + str(more.pop("extra", ""))
    stack = GitStack(folder, server, policy=policy, limits=limits, extra=extra, **more)  # type: ignore[arg-type]
    stack.start()

    def heard() -> list[tuple[Kind, bytes]]:
        return [told for one in door._sessions() for told in one if not isinstance(told, Event)]

    def alarms() -> list[tuple[str, str]]:
        found = re.findall(r"^gateway: (ssh|internal error): (.*)$", stack.output(), re.MULTILINE)
        return found[told[0] :]

    told = [0]

    def forget() -> None:
        door._old.update(door._settled())
        told[0] += len(alarms())

    door = GateDoor(
        "127.0.0.1", stack.port, stack.ticket(), heard, alarms, forget,
        stack=stack, server=server, keys=keys,
    )  # fmt: skip
    return door


GateDoors = Callable[..., GateDoor]


def route_of(door: GateDoor, folder: Path) -> Route:
    """For whole clients."""
    return Route(door.server, folder, door.stack)
