"""A login of our own: what was recorded of one proves nothing to a server of today."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from protocols.contract import Challenge, Credential, Destined, Opening, Upgrade, Upgraded
from protocols.outbox import Outbox
from protocols.postgres.login import Login
from protocols.wire import Move, Side
from recorder.replay.compare import Comparer, Difference
from recorder.replay.report import Item, Status
from recorder.replay.script import Greeting


class Refused(Exception):
    """The server lets us not in; says why."""


class Entry:
    """Sans-IO: ``outgoing``, ``receive``, ``upgraded``. ``done`` when the server is ready;
    ``rest`` is what came behind that. Raises Refused, WireError, ValueError.

    ``password`` b"" means that there is none. ``tls`` is libpq's sslmode; ``near``: the server
    is on this machine, and may ask for the password in clear without it.
    """

    def __init__(
        self,
        greeting: Greeting,
        *,
        user: str,
        database: str,
        password: bytes,
        tls: str,
        chance: Callable[[int], bytes],
        near: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> None:
        asked = {k: v for k, v in greeting.startup.items() if k not in ("user", "database")}
        path = asked.pop("search_path", "")
        auth = ["scram-sha-256-plus", "scram-sha-256", "md5", "trust"]
        if near or tls in ("require", "verify-ca", "verify-full"):
            auth.append("cleartext")
        destined = Destined(
            user=user, database=database, tls=tls, cancel_key=b"",
            settings={"auth": auth, "search_path": path},
        )  # fmt: skip
        self._password = password
        self._outbox = Outbox()
        self._upgrade = 0
        self._login = Login(
            Opening("replay", chance), destined, self._outbox, count(1),
            parameters=asked | dict(more or {}),
        )  # fmt: skip
        self._login.start()

    def outgoing(self) -> bytes:
        """What to send now."""
        return b"".join(
            span.raw
            for span in self._outbox.drain()
            if span.move is Move.SEND and span.side is Side.UPSTREAM
        )

    def receive(self, data: bytes) -> bool:
        """True: start TLS now, then ``upgraded``."""
        if not data:
            raise Refused(self._login.lost())
        for question in self._login.receive(data):
            if isinstance(question, Upgrade):
                self._upgrade = question.number
                return True
            if isinstance(question, Challenge):
                if not self._password:
                    raise Refused(
                        f"the server asks for a password ({question.method}): PGPASSWORD, "
                        "or --password-file"
                    )
                self._login.answer(question.number, Credential(self._password))
        self._check()
        return False

    def upgraded(self, binding: bytes | None) -> None:
        """TLS is up; ``binding`` is tls-server-end-point (RFC 5929)."""
        self._login.answer(self._upgrade, Upgraded(binding))
        self._check()

    def _check(self) -> None:
        if self._login.refusal is not None:
            if "asks for cleartext" in self._login.refusal.reason:
                raise Refused("the server asks for the password in clear: give --tls require")
            said = f" ({self._login.quoted})" if self._login.quoted else ""
            # The login is the gateway's code; here the credential is whoever replays it's.
            why = self._login.refusal.reason.replace("the gateway's credential", "the credential")
            raise Refused(why.replace("the upstream", "the server") + said)

    @property
    def done(self) -> bool:
        return self._login.done

    @property
    def rest(self) -> bytes:
        return self._login.rest

    @property
    def key(self) -> bytes:
        """What cancels: BackendKeyData."""
        return self._login.key

    @property
    def parameters(self) -> dict[str, str]:
        return self._login.parameters


def compare_login(then: Greeting, now: Mapping[str, str], comparer: Comparer) -> list[Item]:
    """What the two logins said of the server's parameters."""
    items: list[Item] = []
    for name in dict.fromkeys([*then.parameters, *now]):
        a, b = then.parameters.get(name), now.get(name)
        item = Item(Status.EQUAL, 0, len(items) + 1, "ParameterStatus", "(login)")
        rule = comparer.parameter(name)
        if a != b and rule in comparer.on:
            item.status, item.normalisers = Status.NORMALISED, (rule,)
        elif a is None:
            item.status, item.note = Status.EXTRA, f"{name} = {b}"
        elif b is None:
            item.status, item.note = Status.MISSING, f"{name} = {a}"
        elif a != b:
            item.status = Status.DIFFERS
            item.differences = [Difference(name, _raw(a), _raw(b))]
        items.append(item)
    return items


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
