"""Towards the client: TLS, startup packet, proof of who it is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator

from protocols.contract import (
    Answer,
    Cancel,
    Done,
    Offer,
    Opening,
    Proof,
    Proven,
    Question,
    Refuse,
    Upgrade,
    Upgraded,
)
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.postgres import messages, scram
from protocols.postgres.intake import Intake
from protocols.postgres.parameters import RefusedError, Wishes, shown, wishes
from protocols.wire import Mark, Side

_CL = Side.CLIENT
_STARTUP_LIMIT = 10_004
"""As the server: 10,000 bytes, and the length field."""
_PASSWORD_LIMIT = (64 << 10) + 5
"""A secret of 64 KiB, its NUL, and the length field."""
_CANCEL_MIN, _CANCEL_MAX = 16, 12 + 256
_TLS_HANDSHAKE = 0x16
_NEWEST_MINOR = 2
_HINT_TLS = "Connect with sslmode=require (or verify-full), for the gateway takes no plain text."


class Greeting:
    """From the first byte to a proven client.

    ``done`` once the client is proven (``wishes`` says what it wants), and
    ``closing`` once it must go; what it is told is then in the outbox.  Client
    bytes that arrive early stay in ``intake``, which the outbox has not been
    told of; until ``done`` they may be a credential.
    """

    def __init__(self, opening: Opening, outbox: Outbox, numbers: Iterator[int]) -> None:
        self.intake = Intake(_CL)
        self.done = False
        self.closing = False
        self.mute = False
        """The client can't take a message of ours (it waits for TLS, or it
        came to cancel)."""
        self.cancelling = False
        """It asked for a cancel, which goes on if it hangs up meanwhile (as
        many drivers do at once)."""
        self.wishes = Wishes("", "", {}, ())
        self._opening = opening
        self._outbox = outbox
        self._numbers = numbers
        self._encrypted = False
        self._direct = False
        self._binding: bytes | None = None
        self._asked_ssl = self._asked_gss = False
        self._pending = 0
        self._step: Callable[[], Question | None] = self._opened
        self._reply: Callable[[Answer], None] = self._no_reply
        self._server: scram.ScramServer | None = None

    def receive(self, data: bytes) -> list[Question]:
        """The client's bytes (not its end of stream)."""
        self.intake.push(data)
        if self._pending and self.mute and len(self.intake):
            self._early()
        questions = self._read()
        if len(self.intake) > max(self._opening.limit, _PASSWORD_LIMIT):
            raise LimitError(_CL, "too many bytes before the login is through", "08P01")
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if not self._pending or number != self._pending:
            raise KeyError(number)
        self._reply(answer)
        self._pending = 0
        return self._read()

    def refuse(self, refuse: Refuse) -> None:
        """End the session with the protocol's words for ``refuse``."""
        self._farewell(messages.refusal(refuse, self._opening.session))

    def _farewell(self, raw: bytes) -> None:
        if not self.mute:
            self._outbox.send(_CL, raw, Mark.OURS)
        self.closing = True

    def _fatal(self, code: str, message: str, detail: str = "", hint: str = "") -> None:
        session = f"Gateway session {self._opening.session}."
        self._farewell(messages.fatal(code, message, detail, f"{hint} {session}".strip()))

    def _read(self) -> list[Question]:
        while not (self._pending or self.done or self.closing):
            before = len(self.intake)
            question = self._step()
            if question is not None:
                self._pending = question.number
                return [question]
            if len(self.intake) == before:
                break
        return []

    def _no_reply(self, answer: Answer) -> None:
        raise TypeError(f"{type(answer).__name__} does not answer anything here")

    # TLS and startup

    def _opened(self) -> Question | None:
        """The very first byte: direct TLS or a packet."""
        if self.intake.peek() < 0:
            return None
        if self.intake.peek() == _TLS_HANDSHAKE and self._opening.tls != "off":
            self._direct = True
            unread = self.intake.drain()
            self._outbox.take(_CL, unread)
            return self._upgrade(unread, "postgresql")
        self._step = self._packet
        return self._packet()

    def _packet(self) -> Question | None:
        raw = self.intake.packet(_STARTUP_LIMIT)
        if raw is None:
            return None
        code = int.from_bytes(raw[4:8], "big")
        secret = code == messages.CANCEL_CODE
        self._outbox.take(_CL, raw, Mark.SECRET if secret else Mark.PLAIN)
        if secret:
            return self._cancel(raw)
        if code in (messages.SSL_CODE, messages.GSS_CODE):
            return self._negotiate(code, len(raw))
        return self._startup(code >> 16, code & 0xFFFF, raw[8:])

    def _negotiate(self, code: int, size: int) -> Question | None:
        if size != 8:
            raise WireError(_CL, "an encryption request of a wrong length", "08P01")
        tls = code == messages.SSL_CODE
        if self._encrypted or (self._asked_ssl if tls else self._asked_gss):
            raise WireError(_CL, "an encryption request out of turn", "08P01")
        if not tls:
            self._asked_gss = True
        else:
            self._asked_ssl = True
            if self._opening.tls != "off":
                self._outbox.send(_CL, b"S", Mark.OURS)
                self.mute = True
                if len(self.intake):
                    self._early()
                return self._upgrade(b"", "")
        self._outbox.send(_CL, b"N", Mark.OURS)
        return None

    def _early(self) -> None:
        # Said before TLS, by anybody: it must not count as said under TLS
        # (CVE-2021-23214).
        self.mute = True
        raise WireError(_CL, "bytes before TLS was up", "08P01")

    def _upgrade(self, unread: bytes, alpn: str) -> Question:
        self.mute = True
        self._reply = self._upgraded
        return Upgrade(next(self._numbers), _CL, unread, alpn)

    def _upgraded(self, answer: Answer) -> None:
        if isinstance(answer, Refuse):
            self.closing = True
            return
        if not isinstance(answer, Upgraded):
            raise TypeError(f"{type(answer).__name__} does not answer an Upgrade")
        self.mute = False
        self._encrypted = True
        self._binding = answer.binding
        self._step = self._packet
        if self._direct and answer.alpn != "postgresql":
            # Without the name of the protocol the client may believe that it
            # talks to something else (ALPACA); the server insists as well.
            self._fatal("08P01", "direct TLS without ALPN", hint="Offer the ALPN id postgresql.")

    def _cancel(self, raw: bytes) -> Question:
        self.mute = True
        if not _CANCEL_MIN <= len(raw) <= _CANCEL_MAX:
            raise WireError(_CL, "a cancel request of a wrong length", "08P01")
        self._reply = self._cancelled
        self.cancelling = True
        return Cancel(next(self._numbers), raw[8:])

    def _cancelled(self, answer: Answer) -> None:
        if not isinstance(answer, Done | Refuse):
            raise TypeError(f"{type(answer).__name__} does not answer a Cancel")
        self.closing = True

    def _startup(self, major: int, minor: int, body: bytes) -> Question | None:
        if major != 3:
            self._fatal(
                "0A000",
                f"unsupported frontend protocol {major}.{minor}",
                "The gateway speaks 3.0 and 3.2.",
            )
            return None
        if self._opening.tls == "require" and not self._encrypted:
            self._fatal("28000", "the gateway requires TLS", hint=_HINT_TLS)
            return None
        try:
            self.wishes = wishes(messages.parse_startup(body))
        except RefusedError as error:
            self._fatal(error.code, error.message, hint=error.hint)
            return None
        if minor > _NEWEST_MINOR or self.wishes.extensions:
            note = messages.negotiate(min(minor, _NEWEST_MINOR), self.wishes.extensions)
            self._outbox.send(_CL, note, Mark.OURS)
        self._reply = self._offered
        return Proof(next(self._numbers), self.wishes.user)

    # Proof

    def _offered(self, answer: Answer) -> None:
        if isinstance(answer, Refuse):
            # Nothing has been proven yet, so the reason would tell a stranger.
            self._unproven(answer, "")
        elif not isinstance(answer, Offer):
            raise TypeError(f"{type(answer).__name__} does not answer a Proof without evidence")
        elif answer.verifier is None:
            ask = messages.authentication(messages.AUTH_CLEARTEXT)
            self._outbox.send(_CL, ask, Mark.OURS)
            self._step = self._password
        else:
            nonce = b64encode(self._opening.chance(18))
            self._server = scram.ScramServer(answer.verifier, nonce, self._binding)
            offer = messages.sasl_offer(self._server.mechanisms)
            self._outbox.send(_CL, offer, Mark.OURS)
            self._step = self._sasl_first

    def _secret(self) -> bytes | None:
        """The payload of the next password message, None while it isn't there
        or when the client goes away instead (as psql does, to ask its user)."""
        raw = self.intake.message(_PASSWORD_LIMIT, b"pX")
        if raw is None:
            return None
        self._outbox.take(_CL, raw, Mark.SECRET)
        if raw[:1] == b"X":
            self.closing = True
            return None
        return raw[5:]

    def _password(self) -> Question | None:
        payload = self._secret()
        if payload is None:
            return None
        secret = messages.parse_password(payload)
        if not secret:
            self._unproven(Refuse("", kind="identity"), "the password is empty")
            return None
        self._reply = self._judged
        return Proof(next(self._numbers), self.wishes.user, secret=secret)

    def _sasl_first(self) -> Question | None:
        payload = self._secret()
        if payload is None or self._server is None:
            return None
        mechanism, first = messages.parse_sasl_initial(payload)
        try:
            challenge = self._server.challenge(mechanism, first)
        except scram.ScramError as error:
            raise WireError(_CL, str(error), "08P01") from None
        # Salt and nonces; no secret until a proof lies beside them.
        raw = messages.authentication(messages.AUTH_SASL_CONTINUE, challenge)
        self._outbox.send(_CL, raw, Mark.SECRET)
        self._step = self._sasl_final
        return None

    def _sasl_final(self) -> Question | None:
        payload = self._secret()
        if payload is None or self._server is None:
            return None
        try:
            outcome = self._server.check(payload)
        except scram.WrongProofError:
            self._unproven(Refuse("", kind="identity"), "")
            return None
        except scram.ScramError as error:
            raise WireError(_CL, str(error), "08P01") from None
        final = messages.authentication(messages.AUTH_SASL_FINAL, outcome)

        def judged(answer: Answer) -> None:
            if isinstance(answer, Proven):
                # A client can test guessed passwords against it, like a proof.
                self._outbox.send(_CL, final, Mark.SECRET)
            self._judged(answer)

        self._server = None
        self._reply = judged
        return Proof(next(self._numbers), self.wishes.user, scram=True)

    def _judged(self, answer: Answer) -> None:
        if isinstance(answer, Refuse):
            self._unproven(answer, answer.reason)
        elif isinstance(answer, Proven):
            self.done = True
        else:
            raise TypeError(f"{type(answer).__name__} does not answer a Proof with evidence")

    def _unproven(self, refuse: Refuse, reason: str) -> None:
        if refuse.kind == "identity":
            who = shown(self.wishes.user)
            self._fatal("28P01", f"password authentication failed for user {who}", reason)
        else:
            self.refuse(refuse)
