"""After the clients have left: is what they did on record, every byte of it?"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from stack import Stack
from tap import Tap, Wire

from protocols.wire import Side
from recorder.reader import every_log, open_recording
from recorder.streams import Hop, Piece, Streams

HOPS = {
    "client in": Hop(Side.CLIENT, True),
    "client out": Hop(Side.CLIENT, False),
    "upstream in": Hop(Side.UPSTREAM, True),
    "upstream out": Hop(Side.UPSTREAM, False),
}


class Tapped(Stack):
    """A stack with a witness on each leg; ``port`` is the witness's."""

    def __init__(self, folder: Path, server: Any, **more: Any) -> None:
        self.upstream_tap = Tap(server.host, server.port)
        self.client_tap: Tap | None = None
        super().__init__(folder, _Through(self.upstream_tap, server.password), **more)

    def start(self) -> Tapped:
        super().start()
        self.listening = self.port
        self.client_tap = Tap("127.0.0.1", self.port)
        self.port = self.client_tap.port
        return self


class _Through:
    def __init__(self, tap: Tap, password: str) -> None:
        self.host, self.port, self.password = tap.host, tap.port, password


def wait_sealed(stack: Stack, seconds: float = 5.0) -> None:
    """Until no session of ``stack`` is live."""
    end = time.monotonic() + seconds
    while any(row["status"] == "open" for row in stack.sessions()):
        assert time.monotonic() < end, "sessions stay live"
        time.sleep(0.1)


def audit(stack: Stack) -> int:
    """Stop ``stack``; every session must verify, and must say of every hop
    what the witnesses saw. Returns the number of sessions."""
    stack.stop()
    done = stack.recorder("verify", "--all", "--json")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [v for v in verdicts if v["status"] != "OK-UNANCHORED"]
    assert not bad, bad
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in stack.output(), stack.output()[-3000:]
    assert "internal error" not in stack.output(), stack.output()[-3000:]
    if isinstance(stack, Tapped):
        _compare(stack)
    return len(verdicts)


def _compare(stack: Tapped) -> None:
    assert stack.client_tap is not None
    legs = {"client": stack.client_tap, "upstream": stack.upstream_tap}
    free: dict[str, list[Wire]] = {}
    for name, tap in legs.items():
        tap.settle()
        free[name] = list(tap.wires)
    claims = []
    for path in every_log(stack.state):
        recording = open_recording(stack.state, path.stem)
        try:
            cut = recording.end is not None and recording.end.status == "terminated"
            streams = Streams(recording)
            hops = {name: list(streams.pieces(hop)) for name, hop in HOPS.items()}
        finally:
            recording.close()
        for leg in legs:
            claims.append((f"{path.stem} {leg}", leg, hops[f"{leg} in"], hops[f"{leg} out"], cut))
    # A session that was cut matches whatever goes on from its bytes: it comes last, and
    # the longest of its kind first.
    claims.sort(key=lambda c: (c[4], -sum(p.length for p in (*c[2], *c[3]))))
    for name, leg, arrived, left, cut in claims:
        _claim(name, free[leg], arrived, left, cut)
    # Errands (catalog, cancels) have upstream connections without a session; every
    # client's connection has one.
    assert not free["client"], f"{len(free['client'])} connections of clients have no session"


def _claim(name: str, free: list[Wire], arrived: list[Piece], left: list[Piece], cut: bool) -> None:
    """Find the connection that had exactly these bytes both ways, and take it.
    ``cut``: the gateway ended the session, and what was still on its way in was
    never read."""
    if not any(p.length for p in (*arrived, *left)):
        if "client" in name:  # came and went without a word
            silent = [w for w in free if not w.to_upstream]
            assert silent, f"{name}: no connection was silent"
            free.remove(silent[0])
        return
    at_client = "client" in name
    heard = b"".join(p.raw or b"" for p in (arrived if at_client else left)[:1])
    said = b"".join(p.raw or b"" for p in (left if at_client else arrived)[:2])
    kind = _kind(heard, said)
    complaints = []
    for wire in free:
        came, went = wire.to_upstream, wire.to_client
        if _kind(came, went) != kind:
            continue
        if not at_client:
            came, went = went, came
        # Inside TLS the witness saw ciphertext: one such connection is as good as another.
        complaint = ""
        if kind == "plain":
            complaint = _differs(arrived, came, cut) or _differs(left, went, lost=cut)
        if not complaint:
            free.remove(wire)
            return
        complaints.append(complaint)
    raise AssertionError(f"{name}: no connection had these bytes: {complaints[-8:]}")


def _kind(from_client: bytes | bytearray, to_client: bytes | bytearray) -> str:
    """How a connection begins: TLS from the first byte, TLS after a request for
    it (perhaps after one for GSSAPI, which is refused), or plain."""
    if from_client[:1] == b"\x16":
        return "direct"
    return "asked" if to_client[:1] == b"S" or to_client[:2] == b"NS" else "plain"


def _differs(pieces: list[Piece], seen: bytearray, cut: bool = False, lost: bool = False) -> str:
    """Nothing when ``pieces`` are exactly ``seen`` (``cut``: or its beginning;
    ``lost``: or go on where a reset cut ``seen`` off), but for those not kept."""
    at = 0
    for piece in pieces:
        if lost and at + piece.length > len(seen):
            return ""
        rest = seen[at : at + piece.length]
        if cut and len(rest) < piece.length and piece.raw and piece.raw.startswith(rest):
            return ""  # the gateway closed while the witness was handing the rest over
        if piece.raw is not None and rest != piece.raw:
            return f"not as seen from byte {at} of {len(seen)}: {piece.raw[:60]!r}"
        at += piece.length
    return (
        ""
        if at == len(seen) or (cut and at < len(seen))
        else f"{at} bytes on record, {len(seen)} seen"
    )
