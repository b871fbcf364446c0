"""Towards the upstream: TLS, startup, credential, up to its ReadyForQuery."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping

from protocols.contract import Answer, Challenge, Credential, Destined, Opening, Question, Refuse
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.postgres import messages, scram
from protocols.postgres.doorway import Doorway
from protocols.postgres.intake import Intake
from protocols.postgres.saslprep import prepared
from protocols.wire import Mark, Side

DEFAULT_METHODS = ("scram-sha-256-plus", "scram-sha-256")
METHODS = frozenset({*DEFAULT_METHODS, "md5", "cleartext", "trust"})

FORCED = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
"""Settings without which our parser and the server's could read two different
texts (THREATS row 57). Asked for at startup, and checked at the end of it."""

SEARCH_PATH = "public"
"""What rules rely on when they read ``users`` as ``public.users``: stronger than
the role's and the database's own setting, and what RESET and DISCARD go back to.
Not every server reports it back. The target's setting ``search_path`` replaces
it; "" leaves it to the server."""

KEY_SIZE = 8
"""Bytes of the cancel keys that clients get: the process id's field and four
bytes, all that protocol 3.0 has room for. 3.2 could take more, but then one
session would have two keys; and a guesser, who needs a connection for each
guess, gets nowhere with what these eight leave to chance either."""

_LIMIT = 1 << 16
_MAX_PARAMETERS = 256
_UP = Side.UPSTREAM


def methods(settings: Mapping[str, object]) -> frozenset[str]:
    """The ``auth`` setting of a target: what the upstream may ask for.

    ValueError names what is wrong with it. ``none`` is another word for
    ``trust``; plain SCRAM implies the stronger one with channel binding.
    """
    value = settings.get("auth", DEFAULT_METHODS)
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise ValueError("auth must be a list of method names")
    chosen = frozenset("trust" if v == "none" else v for v in value)
    if unknown := chosen - METHODS:
        raise ValueError(f"unknown auth methods: {', '.join(sorted(unknown))}")
    if "scram-sha-256" in chosen:
        chosen |= {"scram-sha-256-plus"}
    return chosen


def search_path(settings: Mapping[str, object]) -> str:
    """The ``search_path`` to ask for, "" for none. ValueError when it can't be
    sent."""
    path = settings.get("search_path", SEARCH_PATH)
    if not isinstance(path, str) or "\0" in path:
        raise ValueError("search_path must be text without NUL")
    return path


def doubts(settings: Mapping[str, object]) -> dict[str, str]:
    """What to warn about in a target's settings, by key."""
    path = search_path(settings)
    if not path:
        return {
            "search_path": "is empty: the server decides what a name without a schema means,"
            " and rules read it as one in public"
        }
    if path.replace(" ", "").split(",")[0] not in ("public", '"public"'):
        return {"search_path": f'is "{path}": rules read a name without a schema as one in public'}
    return {}


class Login:
    """One login. ``done`` once the server is ready, ``refusal`` once it never
    will be; ``WireError`` when the server breaks the protocol.  ValueError at
    birth when ``destined`` can't be right (methods, TLS mode, key, a NUL).

    With ``client`` True the client leg hears of it: AuthenticationOk, the
    server's parameters and notices, ``destined.cancel_key`` in place of the
    server's key, ReadyForQuery.  ``key`` is the server's own BackendKeyData
    (b"" if it sent none), ``rest`` what came behind ReadyForQuery, which the
    outbox has not been told of.
    """

    def __init__(
        self,
        opening: Opening,
        destined: Destined,
        outbox: Outbox,
        numbers: Iterator[int],
        *,
        parameters: Mapping[str, str] | None = None,
        client: bool = False,
    ) -> None:
        if "\0" in destined.user + destined.database or not destined.user:
            raise ValueError("a user or database name that is empty or has a NUL")
        if client and len(destined.cancel_key) != KEY_SIZE:
            raise ValueError(f"a cancel key that is not {KEY_SIZE} bytes long")
        self.done = False
        self.refusal: Refuse | None = None
        self.parameters: dict[str, str] = {}
        self.key = b""
        self.rest = b""
        self.quoted = ""
        """What the server said when it refused our credential: for the
        operator's log only."""
        self.greeted = False
        """The client has AuthenticationOk: it can take notices now."""
        self._chance = opening.chance
        self._destined = destined
        self._outbox = outbox
        self._numbers = numbers
        self._asked = dict(parameters or {})
        self._client = client
        self._methods = methods(destined.settings)
        self._path = search_path(destined.settings)
        self._doorway = Doorway(destined.tls, outbox, numbers)
        self._intake = Intake(_UP)
        self._pending = 0
        self._method = ""
        self._salt = b""
        self._scram: scram.ScramClient | None = None
        self._step = "challenge"
        """What authentication waits for: challenge, credential, continue,
        final, ok, and then ready."""

    @property
    def buffered(self) -> int:
        """Upstream bytes that the outbox has not been told of."""
        return len(self._intake) + len(self.rest)

    def start(self) -> None:
        """Send what the upstream is to see first."""
        self._doorway.start()
        if self._doorway.open:
            self._introduce()

    def receive(self, data: bytes) -> list[Question]:
        """The upstream's bytes (not its end of stream, see ``lost``)."""
        if not self._doorway.open:
            questions = self._doorway.receive(data)
            if not self._doorway.open:
                self.refusal = self._doorway.refusal
                return questions
            self._introduce()
            data = self._doorway.rest
        self._intake.push(data)
        questions = self._read()
        if self._pending and len(self._intake) > _LIMIT:
            raise LimitError(_UP, "too many bytes while it waits for a credential", "08P01")
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if self._pending and number == self._pending:
            if isinstance(answer, Credential):
                self._pending = 0
                self._prove(answer.password)
                return self._read()
            if isinstance(answer, Refuse):
                self._pending = 0
                self.refusal = answer
                return []
            raise TypeError(f"{type(answer).__name__} does not answer a Challenge")
        self._doorway.answer(number, answer)
        self.refusal = self._doorway.refusal
        if self._doorway.open:
            self._introduce()
        return []

    def lost(self) -> str:
        """What to say when the upstream hangs up now."""
        return "the upstream hung up during the login"

    def swallow(self) -> None:
        """Account for what is left; some of it may be a credential's."""
        self._outbox.take(_UP, self._intake.drain() + self.rest, Mark.SECRET)
        self.rest = b""

    # Steps

    def _introduce(self) -> None:
        d = self._destined
        parameters = {"user": d.user, "database": d.database, **self._asked, **FORCED}
        if self._path:
            parameters["search_path"] = self._path
        self._outbox.send(_UP, messages.startup(parameters), Mark.OURS)

    def _read(self) -> list[Question]:
        while not (self.done or self.refusal or self._pending):
            allowed = b"SKZNE" if self._step == "ready" else b"RvNE"
            raw = self._intake.message(_LIMIT, allowed)
            if raw is None:
                return []
            known = self._outbox.arrived[_UP]
            try:
                questions = self._message(raw, raw[5:])
            except WireError:
                if self._outbox.arrived[_UP] == known:
                    # Refused before it was put on record; nobody knows what is in it.
                    self._outbox.take(_UP, raw, Mark.SECRET)
                raise
            if questions:
                return questions
        return []

    def _message(self, raw: bytes, payload: bytes) -> list[Question]:
        kind = raw[:1]
        if kind == b"R":
            return self._authentication(raw, payload)
        if kind == b"E":
            own = self._destined.own
            quotes = own is not None and bool(own.spans(payload))
            self._outbox.take(_UP, raw, Mark.SECRET if quotes else Mark.PLAIN)
            self._failed(payload, quotes)
        elif kind == b"Z":
            self._ready(raw, payload)
        elif kind == b"K":
            self._outbox.take(_UP, raw, Mark.SECRET)
            self._keep(payload)
        elif kind == b"v":
            # We asked for 3.0 without options: there is nothing to give up.
            self._outbox.take(_UP, raw)
        else:
            if kind == b"S":
                self._note(payload)
            self._tell(raw, payload)
        return []

    def _authentication(self, raw: bytes, payload: bytes) -> list[Question]:
        code, data = messages.parse_authentication(payload)
        secret = code in (messages.AUTH_SASL_CONTINUE, messages.AUTH_SASL_FINAL)
        self._outbox.take(_UP, raw, Mark.SECRET if secret else Mark.PLAIN)
        step = self._step
        if code == messages.AUTH_OK and step == "challenge":
            if "trust" in self._methods:
                self._welcome()
            else:
                self._deny("let us in without a credential", "trust")
        elif code == messages.AUTH_OK and step == "ok":
            self._welcome()
        elif step == "challenge" and code == messages.AUTH_CLEARTEXT:
            return self._ask("cleartext")
        elif step == "challenge" and code == messages.AUTH_MD5:
            self._salt = data
            return self._ask("md5")
        elif step == "challenge" and code == messages.AUTH_SASL:
            return self._choose(messages.parse_mechanisms(data))
        elif step in ("continue", "final") and secret and self._scram:
            self._sasl(code, data)
        elif step == "challenge" and not secret:
            self._fail(f"the upstream asks for an authentication method {code} that is not ours")
        else:
            raise WireError(_UP, "an authentication request out of turn", "08P01")
        return []

    def _choose(self, offered: tuple[str, ...]) -> list[Question]:
        if scram.PLUS in offered:
            if not self._doorway.encrypted:
                self._fail("the upstream offers channel binding without TLS")
                return []
            if self._doorway.binding is not None and "scram-sha-256-plus" in self._methods:
                return self._ask("scram-sha-256-plus")
        if scram.PLAIN in offered:
            return self._ask("scram-sha-256")
        self._fail("the upstream offers no SASL mechanism that we know")
        return []

    def _ask(self, method: str) -> list[Question]:
        if method not in self._methods:
            self._deny(f"asks for {method}", method)
            return []
        self._method = method
        self._step = "credential"
        self._pending = next(self._numbers)
        return [Challenge(self._pending, method)]

    def _prove(self, password: bytes) -> None:
        if b"\0" in password or not password:
            self._fail("the gateway's credential for the upstream is empty or has a NUL")
            return
        self._step = "ok"
        if self._method == "cleartext":
            raw = messages.frame(b"p", password + b"\0")
        elif self._method == "md5":
            user = self._destined.user.encode()
            inner = hashlib.md5(password + user, usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + self._salt, usedforsecurity=False).hexdigest()
            raw = messages.frame(b"p", b"md5" + outer.encode() + b"\0")
        else:
            binding = self._doorway.binding
            plus = self._method == "scram-sha-256-plus"
            self._scram = scram.ScramClient(
                prepared(password),
                b64encode(self._chance(18)),
                binding if plus else None,
                supports=binding is not None and "scram-sha-256-plus" in self._methods,
                memory=self._destined.memory,
            )
            raw = messages.sasl_initial(self._scram.mechanism, self._scram.first())
            self._step = "continue"
        self._outbox.send(_UP, raw, Mark.SECRET)

    def _sasl(self, code: int, data: bytes) -> None:
        client = self._scram
        assert client is not None
        try:
            if code == messages.AUTH_SASL_CONTINUE and self._step == "continue":
                proof = client.final(data)
                self._outbox.send(_UP, messages.frame(b"p", proof), Mark.SECRET)
                self._step = "final"
            elif code == messages.AUTH_SASL_FINAL and self._step == "final":
                client.verify(data)
                self._scram = None
                self._step = "ok"
            else:
                raise WireError(_UP, "an authentication request out of turn", "08P01")
        except scram.WrongProofError:
            self._fail("the upstream does not know the credential it asked for")
        except scram.ScramError as error:
            self._fail(f"the upstream sent {error}")

    def _welcome(self) -> None:
        self._step = "ready"
        if self._client:
            self._outbox.send(Side.CLIENT, messages.authentication(messages.AUTH_OK), Mark.OURS)
            self.greeted = True

    def _note(self, payload: bytes) -> None:
        name, value = messages.parse_status(payload)
        if len(self.parameters) >= _MAX_PARAMETERS and name not in self.parameters:
            raise LimitError(_UP, f"more than {_MAX_PARAMETERS} parameters", "08P01")
        self.parameters[name] = value

    def _tell(self, raw: bytes, payload: bytes) -> None:
        """Let the client see a message, unless it quotes a secret of ours."""
        own = self._destined.own
        if own is not None and own.spans(payload):
            self._outbox.take(_UP, raw, Mark.SECRET)
        elif self.greeted:
            self._outbox.pass_on(_UP, raw)
        else:
            # No client expects a notice before AuthenticationOk.
            self._outbox.take(_UP, raw)

    def _keep(self, payload: bytes) -> None:
        if self.key or not 8 <= len(payload) <= 260:
            raise WireError(_UP, "a malformed cancel key", "08P01")
        self.key = payload

    def _ready(self, raw: bytes, payload: bytes) -> None:
        if payload != b"I":
            raise WireError(_UP, "a first ReadyForQuery that is not idle", "08P01")
        for name, value in FORCED.items():
            if self.parameters.get(name) != value:
                self._outbox.take(_UP, raw)
                self._fail(f"the upstream does not confirm {name} = {value}")
                return
        if self._client and self.key:
            ours = messages.frame(b"K", self._destined.cancel_key)
            self._outbox.send(Side.CLIENT, ours, Mark.SECRET)
        if self._client:
            self._outbox.pass_on(_UP, raw)
        else:
            self._outbox.take(_UP, raw)
        self.rest = self._intake.drain()
        self.done = True

    # Ends

    def _failed(self, payload: bytes, quotes: bool) -> None:
        fields = messages.parse_fields(payload, _UP)
        code, text = fields["C"], fields["M"]
        if code.startswith("28"):
            # It may name the user or say which part was wrong: not for clients.
            self.quoted = "" if quotes else f"{code}: {text}"
            self._fail("the gateway's credential was refused by the upstream")
            return
        if quotes:
            text = "(withheld: it quotes a secret)"
        self._fail(f"the upstream said {code}: {text}")

    def _deny(self, does: str, method: str) -> None:
        self._fail(f"the upstream {does}, and the target's auth setting does not allow {method}")

    def _fail(self, reason: str) -> None:
        self.refusal = Refuse(reason, kind="upstream")
