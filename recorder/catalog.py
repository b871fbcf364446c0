"""What can be said of each recording without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.errors import FormatError
from recorder.live import LiveSession, live_sessions
from recorder.parted import PartedLog, log_of
from recorder.reader import Recording, every_log, goes_on
from recorder.state import session_of

VERDICT_NAMES = ("allow", "mask", "hold", "block")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of ``recorder list``. ``status`` is closed, terminated, recovered,
    open, or damaged (then ``reason`` says how); of one part of a session also
    continued."""

    session: str
    started: str
    seconds: float | None
    status: str
    reason: str
    principal: str
    issuer: str
    kind: str
    groups: tuple[str, ...]
    run: str
    tags: dict[str, str]
    target: str
    protocol: str
    database: str
    peer: str
    allowed: int
    masked: int
    held: int
    blocked: int
    bytes: int
    path: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def begun(self) -> datetime:
        """When it started."""
        return datetime.fromisoformat(self.started)


def instant(wall: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC, to the millisecond."""
    when = datetime.fromtimestamp(wall / 1e9, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def describe(recording: Recording) -> Line:
    """The row of a recording that is open already."""
    header = recording.header
    end = recording.peek_end()
    if end is not None:
        status, reason, summary = end.status, end.reason, end.summary
    elif isinstance(recording, LiveSession):
        status, reason, summary = "open", "", recording.summary
    elif isinstance(recording, PartedLog):
        status, reason = "damaged", "its last part is missing: run recorder verify"
        summary = recording.summary
    else:
        status, reason, summary = "damaged", "its END is missing: run recorder verify", {}
    said = summary.get("verdicts")
    four = isinstance(said, list) and len(said) == 4 and all(type(n) is int for n in said)
    verdicts: list[int] = said if four and said else [0, 0, 0, 0]
    tags, groups = summary.get("tags"), summary.get("groups")
    return Line(
        session=header["session"],
        started=instant(header["wall"]),
        seconds=None if end is None else end.at / 1e9,
        status=status,
        reason=reason,
        principal=_text(summary.get("subject")) or _text(header.get("principal")),
        issuer=_text(summary.get("issuer")),
        kind=_text(summary.get("kind")),
        groups=tuple(map(str, groups)) if isinstance(groups, list) else (),
        run=_text(summary.get("run")),
        tags={str(k): str(v) for k, v in tags.items()} if isinstance(tags, dict) else {},
        target=_text(summary.get("target")) or _text(header.get("target")),
        protocol=_text(header.get("protocol")),
        database=_text(summary.get("database")),
        peer=_text(header.get("peer")),
        allowed=verdicts[0],
        masked=verdicts[1],
        held=verdicts[2],
        blocked=verdicts[3],
        bytes=0 if end is None else sum(end.counts),
        path=str(recording.path),
    )


def row_of_damaged(path: Path, error: FormatError) -> Line:
    """The row of a Log that can't be opened."""
    day = "-".join(path.parts[-4:-1])
    return Line(
        session=session_of(path), started=f"{day}T00:00:00.000Z", seconds=None, status="damaged",
        reason=str(error), principal="", issuer="", kind="", groups=(), run="", tags={},
        target="", protocol="", database="", peer="", allowed=0, masked=0, held=0, blocked=0,
        bytes=0, path=str(path),
    )  # fmt: skip


def catalog(state: Path) -> Iterator[Line]:
    """Every recording, sealed ones first; a damaged one is a row too."""
    # Looked for first: what is sealed meanwhile is among the Logs then.
    live = {str(session.header["session"]): session for session in live_sessions(state / "journal")}
    seen = set()
    for path in every_log(state):
        if goes_on(path, live):
            continue
        seen.add(session_of(path))
        try:
            log = log_of(path)
        except FormatError as error:
            yield row_of_damaged(path, error)
            continue
        try:
            yield describe(log)
        except (ValueError, OverflowError, OSError):
            yield row_of_damaged(path, FormatError("its header can't be shown", 0))
        finally:
            log.close()
    for name, session in live.items():
        if name not in seen:
            yield describe(session)
