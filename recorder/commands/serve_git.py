"""The git half of ``recorder serve``: what there is to play, and one connection."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import time

from protocols.ssh.exec import PROGRAMS
from recorder.reader import Recording
from recorder.render import amount, one_line, safe
from recorder.replay.git_exchanges import conversation
from recorder.replay.git_matching import DEFAULT
from recorder.replay.git_serving import Player, Repertoire
from recorder.replay.git_tape import taped
from recorder.replay.messages import UnreadableError

IDLE = 300.0
"""Seconds of silence, either way, until a client is left."""
REQUEST = 600.0
"""Seconds for a request from its first byte to its last, pack and all."""
_READ = 1 << 16
_LINGER = 2.0


def repertoire(recording: Recording, args: argparse.Namespace) -> Repertoire:
    """What ``recording`` holds. UnreadableError, FormatError."""
    talk = conversation(taped(recording))
    if talk.withheld:
        raise UnreadableError(f"the beginning of what its client got is withheld: {talk.withheld}")
    on = frozenset() if args.exact else frozenset((*DEFAULT, *args.normalise))
    return Repertoire(talk, args.mode, on, lambda text: print(text, file=sys.stderr, flush=True))


def about(on: Repertoire, host: str, port: int) -> list[str]:
    """What to tell of it before anybody comes."""
    talk, tape = on.conversation, on.conversation.tape
    programs = {service: name.decode() for name, service in PROGRAMS.items()}
    place = tape.path.strip(b"/").decode("utf-8", "backslashreplace")
    told = [f"{programs[tape.service]}, version {talk.version}, {talk.object_format}: "
            f"git://{host}:{port}/{one_line(place)}"]  # fmt: skip
    if tape.ended:
        told.append(f"then: {tape.ended}")
    text = bytes(tape.errors).decode("utf-8", "surrogateescape").replace("\r", "\n")
    told += [f"stderr then: {safe(line)}" for line in text.split("\n") if line]
    if tape.got.ours:
        told.append(f"{amount(tape.got.ours)} of the answers are the gateway's own: what it left "
                    "out, masked or refused is not on this side of the record")  # fmt: skip
    if talk.missing:
        told.append(f"what its client said is not all on record: {one_line(talk.missing)}")
    if talk.unanswered:
        told.append("its last request was never answered: not played")
    for each in talk.exchanges:
        if each.hidden or each.withheld:
            told.append(f"request {each.number} ({one_line(each.request.said)}) can't be played, "
                        f"not all of it is on record: {each.hidden or each.withheld}")  # fmt: skip
    return told


def summary(on: Repertoire) -> str:
    """The normalisers that were needed, "" for none."""
    return ", ".join(f"{name} ({count})" for name, count in sorted(on.used.items()))


def serve(sock: socket.socket, on: Repertoire) -> None:
    """One client, from its first byte to its last."""
    player = Player(on)
    since = time.monotonic()
    with sock, contextlib.suppress(OSError), contextlib.closing(player):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(IDLE)
        while not player.over and (data := sock.recv(_READ)):
            whole = player.whole
            for piece in player.receive(data):
                sock.sendall(piece)
            if player.whole != whole or not player.partial:
                since = time.monotonic()
            elif time.monotonic() - since > REQUEST:
                return
        _leave(sock)


def _leave(sock: socket.socket) -> None:
    """Hang up so that the last words arrive: what is unread would reset the connection."""
    sock.shutdown(socket.SHUT_WR)
    end = time.monotonic() + _LINGER
    left = 1 << 20
    while left > 0 and (rest := end - time.monotonic()) > 0:
        sock.settimeout(rest)
        data = sock.recv(_READ)
        if not data:
            return
        left -= len(data)
