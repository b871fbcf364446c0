"""The services of git that a command line can name, and the lanes that speak them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from protocols.contract import Effect, EffectKind, Fact, Part
from protocols.git.archive import ArchiveLane
from protocols.git.fetch import FetchLane
from protocols.git.lane import Lane, LaneOpening
from protocols.git.names import RepositoryRefused, repository
from protocols.git.push import PushLane
from protocols.ssh.ascent import Summit
from protocols.ssh.exec import ExecRefused, parse_exec

PROGRAMS: Final = {
    "fetch": "git-upload-pack",
    "push": "git-receive-pack",
    "archive": "git-upload-archive",
}
_WORDS: Final = {program: word for word, program in PROGRAMS.items()}


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
        return replace(self, word="fetch", version=2)

    def summit(self, user: str, root: str) -> Summit:
        """The upstream's command line. The name has no character that a shell
        would see, and begins with no dash (``names.py``)."""
        path = f"{root.rstrip('/')}/{self.repository}.git"
        quoted = "'" + path.replace("'", "'\\''").replace("!", "'\\!'") + "'"
        # Pushing knows no version 2; git's own client asks for it all the same.
        version = 0 if self.word == "push" and self.version == 2 else self.version
        protocol = f"version={version}" if version in (1, 2) else ""
        return Summit(user, f"{PROGRAMS[self.word]} {quoted}", protocol)


def requested(line: bytes, version: int) -> Service:
    """What the command line ``line`` asks for. Raises Unfit."""
    try:
        program, path = parse_exec(line)
        return Service(_WORDS[program], repository(path), version if version in (1, 2) else 0)
    except (ExecRefused, RepositoryRefused) as error:
        raise Unfit(str(error)) from error


def listing(service: Service) -> tuple[str, Part]:
    """The command that every service begins with: its refs are shown."""
    effect = Effect(EffectKind.READ, service.repository, "repository")
    facts: dict[str, Fact] = {
        "repo": service.repository,
        "service": service.word,
        "version": service.version,
    }
    return f"list {service.repository} ({service.word})", Part(
        "git.list", (effect,), facts, complete=True
    )


def start_lane(service: Service, opening: LaneOpening) -> Lane:
    """The lane for ``service``."""
    if service.word == "push":
        return PushLane(opening)
    if service.word == "archive":
        return ArchiveLane(opening)
    return FetchLane(opening)
