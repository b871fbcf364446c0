"""The one seam: conversations ask, the relay answers.

A ``Conversation`` is one session as the wire sees it: pure, synchronous, both
legs.  Bytes go in through ``receive``; ``moves`` says what became of them and
what is to be sent; wherever the protocol needs to know something that bytes
cannot tell, it returns a question and stops that lane until the answer.

Calls, in the order in which the relay makes them::

    questions = conversation.receive(side, data)     # b"" is the end of stream
    questions += conversation.answer(number, answer) # for each that has one
    spans = conversation.moves()                     # record these, then send

``receive`` and ``answer`` may both return new questions.  An answer of the
wrong type for its question, or for an unknown number, is a ``TypeError`` or
``KeyError``: a bug in the relay, not in a peer.  The only exception that a
peer's bytes can cause is ``WireError``; after it ``moves`` still yields what
there is to record and the protocol's own farewell to the client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, TypeAlias
from typing import Protocol as Interface

from protocols.wire import Side, Span

# --------------------------------------------------------------------------
# Commands


class EffectKind(str, Enum):
    """What a command does to an object."""

    READ = "read"
    WRITE = "write"
    DESTROY = "destroy"
    DEFINE = "define"
    GRANT = "grant"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Effect:
    """``kind`` done to ``object`` (``public.users``, ``refs/heads/main``).

    ``of`` says what the object is in the protocol's words: ``relation``,
    ``function``, ``ref``, ``setting``.  ``object`` is "" where the effect is
    known but its object is not.
    """

    kind: EffectKind
    object: str
    of: str


Fact: TypeAlias = "str | int | bool | tuple[str, ...] | None"
"""A fact about a part. None means unknown, and rules say which way that errs."""


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of a command: what rules judge.

    ``action`` is ``<protocol family>.<verb>`` (``sql.delete``, ``git.push``);
    ``<family>.unparsed`` when the text could not be understood.  ``complete``
    is False when there may be effects that are not listed.
    """

    action: str
    effects: tuple[Effect, ...]
    facts: Mapping[str, Fact]
    complete: bool
    why_incomplete: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A bound parameter. ``value`` None is NULL; ``form`` is the protocol's
    own name of its encoding (``text``, ``binary``), ``type`` likewise."""

    value: bytes | None
    form: str = "text"
    type: str = ""


class Phase(str, Enum):
    PREPARE = "prepare"
    """The text is about to be parsed upstream, not run. A hold is not asked
    for yet; a block is final."""
    RUN = "run"
    """The command is about to run with these parameters."""


# --------------------------------------------------------------------------
# Questions


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Start TLS on ``side``'s leg. ``unread``: bytes of that leg which belong
    to the TLS stream (direct TLS). ``alpn`` is the protocol id to insist on,
    "" for none."""

    number: int
    side: Side
    unread: bytes = field(default=b"", repr=False)
    alpn: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """Who is asking? First with ``secret`` None: the client claims the name
    ``claimed``; the answer says how it is to prove it (``Offer``).  Then with
    the evidence: a password, JWT or ticket in ``secret``, or, after a SCRAM
    exchange that the conversation checked itself, ``scram`` True, or in ``key`` a
    public key or certificate (RFC 4253 section 6.6, OpenSSH PROTOCOL.certkeys) whose
    private key was proven to be the client's."""

    number: int
    claimed: str
    secret: bytes | None = field(default=None, repr=False)
    scram: bool = False
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where does the client want to go? ``requested`` is the protocol's own
    name for it (a database, a repository), ``parameters`` the rest of the
    greeting that the conversation lets through."""

    number: int
    requested: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Challenge:
    """The upstream asks for a credential by ``method`` (``scram-sha-256``,
    ``scram-sha-256-plus``, ``md5``, ``cleartext``)."""

    number: int
    method: str


@dataclass(frozen=True, slots=True)
class Command:
    """A unit of intent, before it reaches the upstream."""

    number: int
    phase: Phase
    text: str
    parts: tuple[Part, ...]
    parameters: tuple[Parameter, ...] = ()
    context: tuple[str, ...] = ()
    """More that the meaning depends on (statement name, kind of message)."""

    def digest(self, *extra: str) -> str:
        """SHA-256, hex, of everything that will run, and of ``extra``
        (target, principal, policy version). Fields are length-prefixed, so
        no two different commands share an encoding."""
        h = hashlib.sha256(b"wirewarden command v1\0")

        def add(raw: bytes | None) -> None:
            h.update(b"-" if raw is None else b"%d:%b" % (len(raw), raw))

        add(self.text.encode("utf-8", "surrogateescape"))
        add(b"%d" % len(self.parameters))
        for p in self.parameters:
            add(p.form.encode())
            add(p.type.encode())
            add(p.value)
        add(b"%d" % len(self.context))
        for word in (*self.context, *extra):
            add(word.encode("utf-8", "surrogateescape"))
        return h.hexdigest()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result. ``origins`` are the base columns behind it
    (``public.users.email``); () means a computed value that reads no column
    that matters (a constant, ``count(*)``); None means unknown.  ``exact`` False:
    the value is computed, ``origins`` are all columns that it could be computed
    from, and no single one of them is what it shows."""

    name: str
    type: str
    origins: tuple[str, ...] | None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What may be seen of the result of the command ``command``?"""

    number: int
    command: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Errand:
    """Run ``talk`` on a new upstream connection of the same target, with the
    same credential, and answer with its ``result``. ``seconds`` is how long it
    may take, ``most`` how many bytes it may read, 0 for the relay's own bounds.
    ``say`` True: tell the client now and then that it is still waited for."""

    number: int
    talk: Talk
    purpose: str
    seconds: float = 0.0
    most: int = 0
    say: bool = False


@dataclass(frozen=True, slots=True)
class Examine:
    """Look into bulk in a process apart, bounded in time, memory and disk.
    ``what`` names the kind of bulk (``git``); all Examine questions of a session
    with the same ``what`` go to the same scratch space, ``spools`` are added to it,
    and ``step`` says what to do. Answered by Done; its ``error`` is fit for the
    client. A Talk may ask it too."""

    number: int
    what: str
    step: str
    spools: tuple[Spool, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remark:
    """Not a question: an event for the record, in its place among the commands.
    Never answered. ``number`` is 0."""

    kind: str
    fields: Mapping[str, object]
    number: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """A client that holds ``key`` asks to cancel what that session runs."""

    number: int
    key: bytes = field(repr=False)


Question: TypeAlias = (
    Upgrade
    | Proof
    | Destination
    | Challenge
    | Command
    | Result
    | Errand
    | Cancel
    | Examine
    | Remark
)

# --------------------------------------------------------------------------
# Answers


@dataclass(frozen=True, slots=True)
class Refuse:
    """No. ``rule`` is the rule's id or "" (identity, limits), ``reason`` a
    sentence for the person at the client. ``kind`` picks the protocol's error
    code: ``policy``, ``identity``, ``target``, ``busy``, ``recorder``,
    ``shutdown``, ``upstream``."""

    reason: str
    rule: str = ""
    kind: str = "policy"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """TLS is up. ``binding`` is the tls-server-end-point channel binding
    (RFC 5929) of the upstream's certificate, None where there is none.
    ``alpn`` is what was negotiated, "" for nothing."""

    binding: bytes | None = field(default=None, repr=False)
    alpn: str = ""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a SCRAM server stores (RFC 5802): raw bytes, and iterations."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """How the client is to prove itself: with SCRAM against ``verifier``,
    or, when it is None, with a secret in the password field."""

    verifier: Verifier | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """The principal is known; ``subject`` is for messages only."""

    subject: str


@dataclass(frozen=True, slots=True)
class Screen:
    """Finds what must never be shown, whatever column it is in.

    ``spans(data)`` returns non-overlapping (start, end) byte ranges, sorted;
    ``reach`` is the longest possible match in bytes, so that a stream can be
    scanned in windows that overlap by ``reach - 1``.
    """

    spans: Callable[[bytes], list[tuple[int, int]]]
    reach: int
    needles: tuple[bytes, ...] = field(default=(), repr=False)
    """Where it only finds fixed byte strings: these; () where it may find others too."""


class SpoolFull(Exception):
    """A spool takes no more: its cap, or the disk. The text is fit for clients."""


class Spool(Interface):
    """Bulk that waits on disk. Not thread-safe; nothing of it outlives the session."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    def write(self, data: bytes) -> None:
        """Append. Raises SpoolFull, and then nothing of ``data`` is in it."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``, fewer only at the end."""

    def close(self) -> None:
        """Forget it. Idempotent."""


@dataclass(frozen=True, slots=True)
class Destined:
    """Go ahead: the relay has connected the upstream leg.

    ``user`` and ``database`` are what to log in as and to; ``tls`` is the
    mode in libpq's words; ``settings`` the target's protocol settings;
    ``memory`` is the protocol's own, shared by all sessions of the target in
    this process; ``cancel_key`` is minted by the gateway; ``masked`` False
    promises that no Result question can matter on this target; ``own`` finds
    the gateway's own secrets in what goes to the client."""

    user: str
    database: str
    tls: str
    cancel_key: bytes = field(repr=False)
    settings: Mapping[str, object] = field(default_factory=dict)
    memory: dict[object, object] = field(default_factory=dict, repr=False)
    masked: bool = False
    own: Screen | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """What to prove with, upstream: a password, or a private key (OpenSSH or PEM
    form) with an optional certificate. Never printed, never stored."""

    password: bytes = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Allow:
    """Let the command run. ``masked`` True: ask a Result question for what
    comes back, and withhold the text of errors and notices that may quote a
    masked value."""

    masked: bool = False


@dataclass(frozen=True, slots=True)
class Mask:
    """A function on one value. ``apply`` takes the value's text form as bytes
    and returns the bytes to show, or None for NULL. ``name`` is the rule
    language's word (``redact``, ``hash``); a protocol shows a neutral value of
    its own where the type cannot hold what ``apply`` returns."""

    name: str
    apply: Callable[[bytes], bytes | None] = field(repr=False)
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The masks of a result, one per column (None: show). ``detect`` looks
    into every value that has no mask of its own. ``withhold``: text beside the
    rows (errors, notices, payloads) may quote masked values: replace it.
    ``lasting`` promises the same answer, in this session, for every command with
    the same parts and equal columns: it need not be asked again."""

    columns: tuple[Mask | None, ...]
    detect: Screen | None = None
    withhold: bool = False
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """An errand's result or a cancel's end; ``error`` is "" on success."""

    result: object = None
    error: str = ""


Answer: TypeAlias = Refuse | Upgraded | Offer | Proven | Destined | Credential | Allow | Plan | Done

# --------------------------------------------------------------------------
# Conversations


class Exchange(Interface):
    """What a conversation and an errand's talk have in common."""

    def receive(self, side: Side, data: bytes) -> list[Question]:
        """Take in bytes of ``side``; b"" is its end of stream."""

    def answer(self, number: int, answer: Answer) -> list[Question]:
        """Answer the question ``number``; its lane goes on."""

    def moves(self) -> list[Span]:
        """What became of bytes since the last call, in order."""

    @property
    def closing(self) -> bool:
        """True once the session is over: send what ``moves`` says, close."""


class Talk(Exchange, Interface):
    """An errand's exchange: upstream only. Its first bytes are in ``moves``
    from birth."""

    @property
    def result(self) -> object:
        """The outcome once it is ``closing``; None when it failed."""

    @property
    def error(self) -> str:
        """Why it failed, "" when it did not."""


class Conversation(Exchange, Interface):
    """One session, both legs."""

    def say(self, number: int, text: str) -> None:
        """Tell the client something while question ``number`` waits. Sent at
        the next place where the protocol lets a message stand. An empty ``text`` only
        keeps the connection alive; asked for where ``ProtocolKind.keepalive`` says."""

    def withdraw(self, number: int) -> None:
        """The client asked to cancel the waiting question ``number``: refuse
        it as the protocol words a cancel by the client."""

    def dismiss(self, refuse: Refuse) -> None:
        """End the session now with ``refuse`` in the protocol's own words
        (shutdown, recorder failure, expiry)."""

    def cancel(self) -> Talk | None:
        """An errand that cancels what runs upstream, None when nothing can
        be cancelled yet."""

    @property
    def more(self) -> bool:
        """True while spooled bytes can leave upstream at once: call ``moves`` again
        when that leg has room. Always False for a protocol that spools nothing."""

    @property
    def at_rest(self) -> bool:
        """True when nothing runs and nothing would be lost by ending now."""

    @property
    def held(self) -> int:
        """Bytes parked behind questions, and what is remembered of requests in
        flight, for backpressure."""

    @property
    def waiting(self) -> tuple[int, int]:
        """``held`` by side. A side's bytes may wait for the other side to
        speak, so only the side itself is to be slowed down by them."""

    @property
    def ready(self) -> bool:
        """True once both legs are through their logins and commands may flow."""

    @property
    def owed(self) -> bool:
        """True while the upstream owes an answer: something runs."""

    @property
    def between(self) -> bool:
        """True when the client leg stands between two messages, after what
        ``moves`` has told so far: a last word can be said there."""

    @property
    def aside(self) -> str:
        """What the people who run the gateway must know and the client must
        not (why the upstream refused the gateway's credential), else ""."""

    @property
    def unforwarded(self) -> tuple[int, int]:
        """Bytes of each side that arrived but are not in ``moves`` yet (the
        start of a frame that is not whole)."""


class FactKind(str, Enum):
    """The type of a fact, for checking rules at load."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    NAMES = "names"
    """A tuple of names; a pattern on it matches when any name does."""


def _no_spool(cap: int) -> Spool:
    raise SpoolFull("nothing can be spooled here")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a conversation is born with. ``chance(n)`` gives n random bytes.
    ``tls`` on the client leg: ``require``, ``allow`` or ``off``."""

    session: str
    chance: Callable[[int], bytes]
    tls: str = "require"
    limit: int = 1 << 20
    """The largest client message, and the most of a result that is held in
    memory, in bytes. Larger fields stream."""
    spool: Callable[[int], Spool] = field(default=_no_spool, repr=False)
    """Opens a spool that takes up to so many bytes. Raises SpoolFull when there
    is no room for another."""


@dataclass(frozen=True, slots=True)
class ProtocolKind:
    """A row of the table of protocols."""

    name: str
    family: str
    actions: frozenset[str]
    facts: Mapping[str, FactKind]
    settings: Mapping[str, type]
    can_hold: bool
    can_mask: bool
    start: Callable[[Opening], Conversation]
    parts: Callable[[str], tuple[Part, ...]]
    """What `gateway explain` and policy tests judge: text to parts."""
    alpn: str = ""
    """The ALPN protocol id for TLS from the first byte; "" for none."""
    key_size: int = 0
    """Length in bytes of the cancel key that the relay mints; 0 for none."""
    port: int = 0
    carrier: str = "tcp"
    """What carries it: ``tcp``, or ``ssh`` (frames of ``protocols.ssh.frames``
    between the conversation and whoever speaks SSH on either leg)."""
    keepalive: float = 0.0
    """Seconds after which a waiting client wants a sign of life; 0 for never."""
    doubts: Callable[[Mapping[str, object]], Mapping[str, str]] | None = None
    """What is doubtful about a target's settings, by key ("" has its default):
    ends of sentences that begin with the key, shown as warnings."""
    recurs: bool = False
    """Its conversations are ``protocols.recurring.Recurring``."""
    ANY: ClassVar[str] = "*"
