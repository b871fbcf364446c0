"""recorder serve: the server of a recorded session, played for a client."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading

from protocols.wire import Side
from recorder.catalog import describe
from recorder.commands import target
from recorder.commands.opening import (
    DAMAGED,
    ERROR,
    INCOMPLETE,
    OK,
    USAGE,
    add_id,
    complain,
    recording_of,
)
from recorder.commands.replay import where
from recorder.errors import FormatError
from recorder.render import one_line
from recorder.replay.exchanges import exchanges
from recorder.replay.messages import UnreadableError
from recorder.replay.script import Script
from recorder.replay.serving import Player, Repertoire

CONNECTIONS = 100
READ = 1 << 16
_MODES = ("strict", "ordered", "pool")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve",
        help="play the server of a recorded session for a client",
        description="Listens, lets every client in whatever its password is, and answers what it "
        "asks with what was answered then (postgres). strict: the same requests in the same order; "
        "ordered: in the same order, whatever their values are; pool: in any order and over any "
        "number of connections, each recorded request once. What is not on record is answered "
        "with an error that names the closest request and the difference. Without TLS.",
    )
    add_id(parser)
    parser.add_argument("--listen", type=where, required=True, metavar="HOST:PORT",
        help="port 0: any; the address is printed")  # fmt: skip
    parser.add_argument("--mode", choices=_MODES, default="strict")
    parser.add_argument("--once", action="store_true",
        help="end with the first connection; exit code 5 after a miss")  # fmt: skip
    parser.add_argument("--to-anyone", action="store_true",
        help="listen on more than loopback: anyone who reaches it reads the recording")  # fmt: skip
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Serve it, until Ctrl-C."""
    recording = recording_of(args)
    about = describe(recording)
    if about.protocol != "postgres":
        complain(f"sessions of {one_line(about.protocol) or '?'} can't be served")
        return USAGE
    place = target.look_up(*args.listen)
    if not args.to_anyone and not place.near:
        complain(f"{args.listen[0]} is not loopback, and there is no login: --to-anyone")
        return USAGE
    script = Script(recording, Side.CLIENT)
    try:
        greeting = script.greet()
        on = Repertoire(exchanges(script.steps()), greeting, args.mode)
    except UnreadableError as error:
        complain(str(error))
        return ERROR
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    family, at = place.found[0]
    with socket.create_server((str(at[0]), args.listen[1]), family=family) as listening:
        host, port = listening.getsockname()[:2]
        print(f"{host}:{port}  {len(on.exchanges)} requests on record", flush=True)
        room = threading.Semaphore(CONNECTIONS)
        while True:
            sock, _ = listening.accept()
            if args.once:
                _serve(sock, on)
                if on.misses:
                    print(f"{on.misses} requests were not on record", file=sys.stderr)
                return 5 if on.misses else OK
            if not room.acquire(blocking=False):
                sock.close()
                continue
            threading.Thread(target=_thread, args=(sock, on, room), daemon=True).start()


def _thread(sock: socket.socket, on: Repertoire, room: threading.Semaphore) -> None:
    try:
        _serve(sock, on)
    finally:
        room.release()


def _serve(sock: socket.socket, on: Repertoire) -> None:
    player = Player(on, os.urandom(8))
    with sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not player.over and (data := sock.recv(READ)):
            if reply := player.receive(data):
                sock.sendall(reply)
