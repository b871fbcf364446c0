"""The services of git that a command line can name, and the lanes that speak them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocols.contract import Part
from protocols.git.archive import ArchiveLane
from protocols.git.fetch import FetchLane
from protocols.git.lane import Lane, LaneOpening
from protocols.git.names import NameRefused, canonical
from protocols.git.push import PushLane
from protocols.git.words import NEUTRAL, reads
from protocols.ssh.ascent import Summit
from protocols.ssh.exec import ARCHIVE, FETCH, PROGRAMS, PUSH, NotRun, parse, quote

_PROGRAMS = {service: program for program, service in PROGRAMS.items()}


class Unfit(Exception):
    """The command line is none that opens here; the text is fit for the client."""


@dataclass(frozen=True, slots=True)
class Service:
    """``word`` is ``fetch``, ``push`` or ``archive``; ``repository`` the canonical
    name; ``version`` of the protocol that the client asked for."""

    word: str
    repository: str
    version: int

    def at(self, repository: str) -> Service:
        return replace(self, repository=repository)

    def reading(self) -> Service:
        """The service with which the gateway itself asks about the repository."""
        return replace(self, word=FETCH, version=2)

    def summit(self, user: str, root: str) -> Summit:
        """The upstream's command line. The name has no character that a shell
        would see, and begins with no dash (``names.py``)."""
        path = f"{root.rstrip('/')}/{self.repository}.git".encode()
        # Pushing knows no version 2; git's own client asks for it all the same.
        version = 0 if self.word == PUSH and self.version == 2 else self.version
        protocol = f"version={version}" if version in (1, 2) else ""
        return Summit(user, _PROGRAMS[self.word] + b" " + quote(path), protocol)


def requested(line: bytes, version: int) -> Service:
    """What the command line ``line`` asks for. Raises Unfit."""
    try:
        service, path = parse(line)
        return Service(service, canonical(path), version if version in (1, 2) else 0)
    except (NotRun, NameRefused) as error:
        raise Unfit(str(error)) from error


def listing(service: Service) -> tuple[str, Part]:
    """The command that every service begins with: its refs are shown."""
    facts = {
        **NEUTRAL,
        "repo": service.repository,
        "service": service.word,
        "version": service.version,
    }
    part = Part("git.list", reads(service.repository), facts, complete=True)
    return f"list {service.repository} ({service.word})", part


def start_lane(service: Service, opening: LaneOpening) -> Lane:
    """The lane for ``service``."""
    if service.word == PUSH:
        return PushLane(opening)
    if service.word == ARCHIVE:
        return ArchiveLane(opening)
    return FetchLane(opening)
