"""What a push does, asked of the upstream without a clone of it.

An errand's Talk with ``git-upload-pack`` (GIT_PROTOCOL=version=2).  It speaks the
protocol and asks Examine questions; which objects to ask for is decided where objects
are read (``surveying.py``, in a process apart).  Steps, with their arguments and
results, all plain (msgpack):

``pack``     ``algorithm``, ``updates`` [[old, new, ref]], ``offset`` (where in the spool
             the pack begins), ``cut`` (commits that the push calls shallow); spools: the
             push's pack, if it has one.
             Result: the refusal, "" for none.
``ask``      ``others``, ``shown``, ``branches``, ``tags`` [oid], ``filters``, ``shallow``.
             Result: a fetch as [purpose, [want], [have], filter, deepen], or None when all
             is asked.
``came``     ``failed``, ``begun``, ``cut``; spools: the pack that came, if it has objects.
             Result: the next fetch, or None.
``survey``   ``failed``. Result: a Survey (``plain.py``).

It always ends with a Survey: what goes wrong with the push is its ``refusal``, what goes
wrong upstream leaves things unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from protocols.contract import Answer, Done, Examine, Question, Refuse, Spool, SpoolFull
from protocols.errors import WireError
from protocols.git.fetch_client import FetchClient, FetchFailed
from protocols.git.looking import Fetch
from protocols.git.plain import from_plain
from protocols.git.survey import RefUpdate, Survey, UpdateSeen
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span

__all__ = ["Inquiry"]

Script: TypeAlias = "Generator[Examine | None, Done | bytes | None, Survey]"

_REFS_MOST: Final = 200_000
_TIPS_MOST: Final = 2048
"""Tips of other refs that are told to the upstream as kept, for a delete."""


class Inquiry:
    """A Talk whose result is a Survey. ``pack`` is the push's, None when it has none, and
    begins at ``offset``. ``most_bytes`` bounds what is fetched in all; an errand that
    may read less ends without a Survey."""

    def __init__(
        self,
        updates: tuple[RefUpdate, ...],
        *,
        pack: Spool | None,
        algorithm: str,
        spool: Callable[[int], Spool],
        number: Callable[[], int],
        offset: int = 0,
        cut: tuple[str, ...] = (),
        most_bytes: int = 48 << 20,
        most_objects: int = 2_000_000,
    ) -> None:
        self._updates = updates
        self._pack = pack
        self._offset = offset
        self._cut = cut
        self._algorithm = algorithm
        self._spool = spool
        self._number = number
        self._most_objects = most_objects
        self._outbox = Outbox()
        self._client = FetchClient(self._send, algorithm, most_bytes)
        self._asked = 0
        self._ended = False
        self._failed = ""
        self._result: Survey | None = None
        self._first: list[Question] = []
        self._script = self._run()
        self._proceed(None, self._first)

    # -- Talk

    @property
    def closing(self) -> bool:
        return self._result is not None

    @property
    def result(self) -> Survey | None:
        return self._result

    @property
    def error(self) -> str:
        return "" if self._result is not None else "the push could not be looked into"

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def receive(self, side: Side, data: bytes) -> list[Question]:
        """Bytes of the upstream. Its first call also gives the first question, which
        waits for nothing: the relay may make it with the greeting."""
        questions, self._first = self._first, []
        if data:
            self._outbox.take(side, data)
        if self._result is not None:
            return questions
        if data:
            self._client.pkts.feed(data)
        else:
            self._ended = True
        return questions + self._read()

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if number != self._asked or not number:
            raise KeyError(number)
        if isinstance(answer, Refuse):
            answer = Done(error=answer.reason)
        if not isinstance(answer, Done):
            raise TypeError(f"an examination is not answered by {type(answer).__name__}")
        self._asked = 0
        questions: list[Question] = []
        self._proceed(answer, questions)
        return questions + self._read()

    # -- inner

    def _send(self, raw: bytes) -> None:
        self._outbox.send(Side.UPSTREAM, raw, Mark.OURS)

    def _read(self) -> list[Question]:
        """Give the script lines as long as it takes them."""
        questions: list[Question] = []
        while not self._asked and self._result is None:
            try:
                line = self._client.pkts.next()
            except WireError:
                # What follows can't be read: for the script the stream ends here.
                self._ended, line = True, None
            if line is None and not self._ended:
                break
            self._proceed(line, questions)
        return questions

    def _proceed(self, value: Done | bytes | None, questions: list[Question]) -> None:
        try:
            wanted = self._script.send(value)
        except StopIteration as end:
            self._result = end.value
            return
        if wanted is not None:
            self._asked = wanted.number
            questions.append(wanted)

    def _examine(
        self, step: str, spools: tuple[Spool, ...] = (), **arguments: object
    ) -> Generator[Examine, Done, Done]:
        return (yield Examine(self._number(), "git", step, spools, arguments))

    def _run(self) -> Script:
        done = yield from self._examine(
            "pack",
            (self._pack,) if self._pack is not None else (),
            algorithm=self._algorithm,
            updates=[[each.old, each.new, each.ref] for each in self._updates],
            offset=self._offset,
            cut=list(self._cut),
        )
        if done.error or not isinstance(done.result, str):
            return self._bare(done.error or "the push could not be looked into")
        if done.result:
            return (yield from self._sum(""))
        failed = ""
        try:
            yield from self._client.greet()
            stale = yield from self._tips_and_fetches()
            if stale:
                return self._bare(stale)
        except FetchFailed as error:
            failed = str(error)
        else:
            if not self._failed:
                self._client.bye()
        return (yield from self._sum(failed))

    def _tips_and_fetches(self) -> Generator[Examine | None, Done | bytes | None, str]:
        """Why the push can't be right any more, "" for nothing."""
        mine = {each.ref.encode("utf-8", "surrogateescape"): each for each in self._updates}
        prefixes = dict.fromkeys(mine)
        if any(each.deletes or each.creates for each in self._updates):
            prefixes = dict.fromkeys((b"refs/heads/", b"refs/tags/", *mine))
        refs = yield from self._client.refs(prefixes, _REFS_MOST)
        for ref, update in mine.items():
            if ref in self._client.symbolic:
                # Whoever writes to it moves another ref, which no rule was asked about.
                return f"{update.ref} is a symbolic ref upstream: push to what it stands for"
            found = refs.get(ref)
            if found is not None and found != update.old:
                return f"{update.ref} has moved upstream: fetch first"
        others = dict.fromkeys(oid for ref, oid in refs.items() if ref not in mine)
        done = yield from self._examine(
            "ask",
            others=list(others)[:_TIPS_MOST],
            shown=[refs[ref] for ref in mine if ref in refs],
            branches=_tips(refs, b"refs/heads/"),
            tags=_tips(refs, b"refs/tags/"),
            filters=self._client.filters,
            shallow=self._client.shallow,
        )
        while (fetch := _fetch(done)) is not None:
            done = yield from self._carry_out(fetch)
        if done.error:
            raise FetchFailed(done.error)
        return ""

    def _carry_out(self, fetch: Fetch) -> Generator[Examine | None, Done | bytes | None, Done]:
        try:
            spool = self._spool(max(self._client.left, 1))
        except SpoolFull as error:
            return (yield from self._examine("came", failed=str(error), begun=False, cut=False))
        try:
            fetched = yield from self._client.fetch(fetch, spool, self._most_objects)
            return (
                yield from self._examine(
                    "came",
                    (spool,) if fetched.objects else (),
                    failed="",
                    begun=fetched.objects > 0,
                    cut=fetched.cut,
                )
            )
        except FetchFailed as error:
            # Let it know what began; whatever it would ask next can't be asked any more.
            self._failed = str(error)
            done = yield from self._examine("came", failed=str(error), begun=error.begun, cut=False)
            if _fetch(done) is not None:
                raise
            return done
        finally:
            spool.close()

    def _sum(self, failed: str) -> Generator[Examine, Done, Survey]:
        done = yield from self._examine("survey", failed=failed)
        if done.error:
            return self._bare(done.error)
        try:
            survey = from_plain(done.result)
        except (ValueError, TypeError):
            return self._bare("the push could not be looked into")
        if tuple(each.update for each in survey.updates) != self._updates:
            return self._bare("the push could not be looked into")
        return survey

    def _bare(self, refusal: str) -> Survey:
        return Survey(
            tuple(
                UpdateSeen(
                    each,
                    True if each.deletes else False if each.creates else None,
                    added_count=None,
                    lost_count=None,
                    whole=False,
                    why="the push is refused",
                )
                for each in self._updates
            ),
            refusal,
        )


def _tips(refs: dict[bytes, str], prefix: bytes) -> list[str]:
    return list(dict.fromkeys(oid for ref, oid in refs.items() if ref.startswith(prefix)))


def _fetch(done: Done) -> Fetch | None:
    plain = done.result
    if done.error or not isinstance(plain, (list, tuple)) or len(plain) != 5:
        return None
    purpose, wants, haves, objects, deepen = plain
    if not isinstance(deepen, int):
        return None
    return Fetch(str(purpose), tuple(map(str, wants)), tuple(map(str, haves)), objects, deepen)
