"""The words between the inquiry, which speaks to the upstream, and the examination,
which reads objects in a process apart: what to fetch, what came, and the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from typing import Protocol as Interface

NAMES_MOST: Final = 1000
"""Names of one kind that a survey tells; with as many there may be more."""


class Exhausted(Exception):
    """More than the bounds allow. The text says of what."""


class Listed(NamedTuple):
    """An object of a pack. ``kind``: ``commit``, ``tree``, ``blob`` or ``tag``."""

    oid: bytes
    kind: str
    size: int


class Store(Interface):
    """The objects of all packs that came so far."""

    def read(self, oid: bytes) -> tuple[str, bytes]:
        """Kind and content. KeyError when it is not at hand; ObjectError when it is too
        large to be read whole."""

    def has(self, oid: bytes) -> bool: ...

    def secrets(self, oids: Sequence[bytes]) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """The blobs among ``oids`` in which secrets of these kinds were found."""

    def size(self, oid: bytes) -> int:
        """KeyError when it is not at hand."""

    def modules(self, oid: bytes) -> str:
        """What git's fsck says against a blob as ``.gitmodules``, "" for nothing."""

    def lines(
        self, pairs: Sequence[tuple[bytes | None, bytes | None]]
    ) -> list[tuple[int, int] | None]:
        """Lines that were added and removed between blobs (None: nothing), None for a
        pair that is binary."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One ``fetch`` of protocol v2, ids in hex. ``filter`` and ``deepen`` "" and 0 for none."""

    purpose: str
    wants: tuple[str, ...]
    haves: tuple[str, ...] = ()
    filter: str = ""
    deepen: int = 0


@dataclass(frozen=True, slots=True)
class Came:
    """What a Fetch brought. ``failed`` says why it brought nothing or not all;
    ``begun`` that objects were on their way all the same. ``cut``: the history ends
    early, by ``deepen``."""

    listing: tuple[Listed, ...] = ()
    failed: str = ""
    begun: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is looked at. Past a bound the survey says that it is not whole."""

    haves: int = 2048
    """Commits named to the upstream as known in one fetch."""
    tips: int = 10_000
    """Tips upstream that creations are compared with, and commits that they are built on."""
    queries: int = 100
    """Fetches of ancestry, two for an update at most."""
    bases: int = 256
    """Commits whose trees are fetched to compare with."""
    trees: int = 1024
    """Single trees fetched on top, in up to three rounds."""
    visited: int = 20_000_000
    """Entries of trees that are looked at."""
    steps: int = 40_000_000
    """Commits that are passed on the way through histories, once for each ref."""
    told: int = 2_000_000
    """Paths of all updates together; one that several share counts for each."""
    paths: int = 50_000
    """Paths of one update that are told."""
    commits_shown: int = 100
    """Commits of one update that are told, added and lost each."""
    names: int = NAMES_MOST
    """Authors, symbolic links, submodules, secrets that are told."""
    files: int = 200
    """Files of one push whose lines are counted."""
    deepen: int = 500
    """Commits fetched of a history that has nothing in common with the push."""
