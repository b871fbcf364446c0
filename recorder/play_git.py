"""Shows a git session as a conversation, one line per thing that was said.

What comes by the thousand (refs, objects that the client has, bytes of a pack) is
counted. For people, on recordings that may be hostile: every line is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recorder.git_story import Line, What
from recorder.render import one_line

_WIDTH: Final = 200


class GitScreen:
    """Feed it lines in order; it yields safe text. ``rows`` is how many objects,
    updates and reports of each list to show."""

    def __init__(self, rows: int = 20) -> None:
        self._rows = rows
        self._shown: dict[What, int] = {}
        self._counts: dict[tuple[bool, What], int] = {}
        self._sizes = {False: 0, True: 0}

    def feed(self, line: Line) -> Iterator[str]:
        """Something that was said."""
        what, words = line.what, line.words
        who = "server" if line.server else "client"
        if what is What.PACK:
            # Progress text stands between the packets of a pack: it goes on counting.
            self._sizes[line.server] += line.size
            return
        if what in (What.REF, What.HAVE):
            self._counts[line.server, what] = self._counts.get((line.server, what), 0) + 1
            return
        if line.server and self._sizes[False]:
            # Its end is seldom said. (The server's own goes on around progress text.)
            yield from self._told(False)
        if what is What.TEXT:
            if not line.passing and words[0].strip():
                teller = "gateway" if line.ours else "remote"
                yield f"{teller}: {one_line(words[0], _WIDTH)}"
            return
        if what in (What.UPDATE, What.WANT, What.REPORT, What.OPTION, What.ASK):
            if self._enough(line):
                return
        else:
            yield from self._told(line.server)
            self._shown.clear()
        if what is What.UPDATE:
            old, new = words[0][:7], words[1][:7]
            yield f"{who}  {one_line(words[2], _WIDTH)}  {old}..{new}"
        elif what is What.WANT:
            yield f"{who}  want {words[0][:7]}"
        elif what is What.OPTION:
            yield f"{who}  push option {one_line(words[0], _WIDTH)}"
        elif what is What.ASK:
            yield f"{who}  {one_line(' '.join(words), _WIDTH)}"
        elif what is What.REPORT:
            teller = "gateway" if line.ours else who
            yield f"{teller}  {one_line(' '.join(words), _WIDTH)}"
        elif what is What.EXEC:
            yield f"{who}  {one_line(words[0], _WIDTH)}"
        elif what is What.REFUSED:
            yield f"{who}  (turned away: {one_line(words[0], _WIDTH)})"
        elif what is What.ERROR:
            yield f"{'gateway' if line.ours else 'remote'}: error: {one_line(words[0], _WIDTH)}"
        elif what is What.END:
            yield f"gateway: {one_line(words[0], _WIDTH)}"
        elif what is What.EXIT:
            yield f"{who}  exit {one_line(' '.join(words), _WIDTH)}"
        elif what is What.LOST:
            yield f"({who}: the rest can't be decoded: {one_line(words[0], _WIDTH)})"

    def hidden(self, length: int, why: str) -> Iterator[str]:
        """Bytes that are not on record."""
        yield f"({length:,} bytes: {one_line(why, _WIDTH)})" if length else f"({one_line(why)})"

    def finish(self) -> Iterator[str]:
        """Nothing more comes: what is still to be shown."""
        for server in (False, True):
            yield from self._told(server)

    def _enough(self, line: Line) -> bool:
        count = self._shown[line.what] = self._shown.get(line.what, 0) + 1
        if count <= self._rows:
            return False
        self._counts[line.server, line.what] = count - self._rows
        return True

    def _told(self, server: bool) -> Iterator[str]:
        who = "server" if server else "client"
        for (side, what), count in tuple(self._counts.items()):
            if side is server:
                del self._counts[side, what]
                yield f"{who}  {_counted(what, count)}"
        if self._sizes[server]:
            yield f"{who}  <pack: {self._sizes[server]:,} bytes>"
            self._sizes[server] = 0


def _counted(what: What, count: int) -> str:
    plural = "" if count == 1 else "s"
    told = {
        What.REF: f"{count:,} ref{plural}",
        What.HAVE: f"has {count:,} object{plural}",
    }.get(what)
    return told or f"… {count:,} more of {what.value}"
