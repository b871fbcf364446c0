"""The process that reads what peers wrote. Started by ``quarantine.py``, one for each
session; it answers one Examine question after the other.

A request is ``[step, arguments]`` with the spools' files beside it, a reply ``[result,
error]``.  What goes wrong in a step is told in ``error`` and ends the process.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from gateway.quarantine import channel
from gateway.quarantine.confine import Confines, confine
from gateway.quarantine.repository import PackRefused, Repository
from protocols.git.ancestry import Tips
from protocols.git.looking import Came, Fetch
from protocols.git.objects import ObjectError
from protocols.git.plain import to_plain, updates_from_plain
from protocols.git.surveying import Examination


class Desk:
    """The steps of ``protocols/git/inquiry.py``."""

    def __init__(self, folder: Path, kinds: tuple[str, ...]) -> None:
        self._folder = folder
        self._kinds = kinds
        self._repository: Repository | None = None
        self._examination: Examination | None = None
        self._asking: Generator[Fetch, Came, None] | None = None

    def step(self, step: str, arguments: Mapping[str, Any], files: list[int]) -> object:
        steps: dict[str, Callable[[Mapping[str, Any], list[int]], object]] = {
            "ahead": self._ahead,
            "pack": self._pack,
            "ask": self._ask,
            "came": self._came,
            "survey": self._survey,
        }
        return steps[step](arguments, files)

    def _ahead(self, arguments: Mapping[str, Any], files: list[int]) -> None:
        """The pack has begun to arrive."""
        self._repository = Repository(self._folder, str(arguments["algorithm"]), self._kinds)
        self._repository.begin(files.pop(), arguments["offset"])

    def _pack(self, arguments: Mapping[str, Any], files: list[int]) -> str:
        algorithm = str(arguments["algorithm"])
        updates = updates_from_plain(arguments["updates"])
        repository = self._repository or Repository(self._folder, algorithm, self._kinds)
        self._repository = repository
        self._examination = Examination(updates, algorithm, self._repository, cut=arguments["cut"])
        if files:
            try:
                if repository.begun:
                    listing, loose = repository.finish(files.pop(), arguments["offset"])
                else:
                    listing, loose = repository.add(files.pop(), arguments["offset"], True)
            except PackRefused as error:
                self._examination.refuse(str(error))
            else:
                self._examination.take(listing, loose)
        return self._examination.refusal

    def _ask(self, arguments: Mapping[str, Any], files: list[int]) -> object:
        assert self._examination is not None
        self._asking = self._examination.ask(
            [bytes.fromhex(oid) for oid in arguments["others"]],
            {bytes.fromhex(oid) for oid in arguments["shown"]},
            arguments["filters"],
            arguments["shallow"],
            Tips(
                dict.fromkeys(map(bytes.fromhex, arguments["branches"])),
                dict.fromkeys(map(bytes.fromhex, arguments["tags"])),
            ),
        )
        return self._next(None)

    def _came(self, arguments: Mapping[str, Any], files: list[int]) -> object:
        assert self._repository is not None
        failed, begun, cut = arguments["failed"], arguments["begun"], arguments["cut"]
        came = Came((), failed, begun, cut)
        if files:
            try:
                listing, _ = self._repository.add(files.pop(), 0, False)
                came = Came(tuple(listing), failed, begun, cut)
            except PackRefused as error:
                came = Came((), f"what the upstream sent can't be read: {error}", begun, cut)
        return self._next(came)

    def _next(self, came: Came | None) -> object:
        assert self._asking is not None
        try:
            fetch = next(self._asking) if came is None else self._asking.send(came)
        except StopIteration:
            return None
        return [fetch.purpose, fetch.wants, fetch.haves, fetch.filter, fetch.deepen]

    def _survey(self, arguments: Mapping[str, Any], files: list[int]) -> object:
        assert self._examination is not None
        return to_plain(self._examination.survey(arguments["failed"]))


def main() -> None:
    """``argv``: the socket's number, the folder, bounds, and the kinds of secrets."""
    fd, folder, memory, cpu, file, *kinds = sys.argv[1:]
    confine(Confines(int(memory), int(cpu), int(file)))
    sock = socket.socket(fileno=int(fd))
    desk = Desk(Path(folder), tuple(kinds))
    while (received := channel.receive(sock)) is not None:
        (step, arguments), files = received
        try:
            reply = [desk.step(step, arguments, files), ""]
        except MemoryError:
            reply = [None, "the push takes more memory to look into than is allowed"]
        except (PackRefused, ObjectError) as error:
            reply = [None, str(error)]
        except Exception as error:
            # A bug, or bytes that nobody thought of. Its text may quote them.
            reply = [None, f"the push could not be looked into ({type(error).__name__})"]
        for each in files:
            os.close(each)
        channel.send(sock, reply)
        if reply[1]:
            return


if __name__ == "__main__":
    main()
