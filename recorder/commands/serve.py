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
from recorder.commands import serve_git, target
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
from recorder.reader import Recording
from recorder.render import one_line
from recorder.replay import git_matching, git_serving
from recorder.replay.exchanges import exchanges
from recorder.replay.messages import UnreadableError
from recorder.replay.script import Script
from recorder.replay.serving import Mode, Player, Repertoire
from recorder.ssh_streams import PROTOCOLS

CONNECTIONS = 100
READ = 1 << 16
_MODES = ("strict", "ordered", "pool")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve",
        help="play the server of a recorded session for a client",
        description="Listens, lets every client in whatever its password is, and answers what it "
        "asks with what was answered then. strict: the same requests in the same order; "
        "ordered: in the same order, whatever their values are (git: some may be left out); "
        "pool: in any order and over any number of connections, each recorded request once (git: "
        "as often as it is asked). What is not on record is answered with an error that names the "
        "closest request and the difference. Without TLS. A git session is played as git:// "
        "(git clone git://HOST:PORT/PATH): fetches, pushes and archives; a push is compared by its "
        "ref updates and the objects of its pack.",
    )
    add_id(parser)
    parser.add_argument("--listen", type=where, required=True, metavar="HOST:PORT",
        help="port 0: any; the address is printed")  # fmt: skip
    parser.add_argument("--mode", choices=_MODES, default="strict",
        help="default: strict")  # fmt: skip
    parser.add_argument("--once", action="store_true",
        help="end with the first connection; exit code 5 after a miss")  # fmt: skip
    parser.add_argument("--to-anyone", action="store_true",
        help="listen on more than loopback: anyone who reaches it reads the recording")  # fmt: skip
    parser.add_argument("--exact", action="store_true",
        help=f"git: normalise nothing (else: {', '.join(git_matching.DEFAULT)})")  # fmt: skip
    parser.add_argument("--normalise", choices=git_matching.DECLARED, action="append", default=[],
        metavar="WHAT", help="git: also take for equal: haves (other 'have' lines, as long as what "
        "was called common then is among them), repository (any path); repeat")  # fmt: skip
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Serve it, until Ctrl-C."""
    recording = recording_of(args)
    protocol = describe(recording).protocol
    if protocol not in ("postgres", *PROTOCOLS):
        complain(f"sessions of {one_line(protocol) or '?'} can't be served")
        return USAGE
    git = protocol in PROTOCOLS
    if not git and (args.exact or args.normalise):
        complain("--exact and --normalise are for git")
        return USAGE
    place = target.look_up(*args.listen)
    if not args.to_anyone and not place.near:
        complain(f"{args.listen[0]} is not loopback, and there is no login: --to-anyone")
        return USAGE
    try:
        play = _Git(serve_git.repertoire(recording, args)) if git else _Postgres(
            recording, args.mode)  # fmt: skip
    except UnreadableError as error:
        complain(str(error))
        return ERROR
    except FormatError as error:
        complain(f"the recording breaks here: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    family, at = place.found[0]
    with socket.create_server((str(at[0]), args.listen[1]), family=family) as listening:
        host, port = listening.getsockname()[:2]
        print(f"{host}:{port}  {play.count} requests on record", flush=True)
        for line in play.about(host, port):
            print(line, file=sys.stderr, flush=True)
        room = threading.Semaphore(CONNECTIONS)
        while True:
            sock, _ = listening.accept()
            if args.once:
                play.serve(sock)
                for line in play.summary():
                    print(line, file=sys.stderr)
                return 5 if play.on.misses else OK
            if not room.acquire(blocking=False):
                sock.close()
                continue
            threading.Thread(target=_thread, args=(sock, play, room), daemon=True).start()


def _misses(count: int) -> list[str]:
    return [f"{count} requests were not on record"] if count else []


class _Postgres:
    def __init__(self, recording: Recording, mode: Mode) -> None:
        script = Script(recording, Side.CLIENT)
        greeting = script.greet()
        self.on = Repertoire(exchanges(script.steps()), greeting, mode)
        self.count = len(self.on.exchanges)

    def about(self, host: str, port: int) -> list[str]:
        return []

    def summary(self) -> list[str]:
        return _misses(self.on.misses)

    def serve(self, sock: socket.socket) -> None:
        player = Player(self.on, os.urandom(8))
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not player.over and (data := sock.recv(READ)):
                if reply := player.receive(data):
                    sock.sendall(reply)


class _Git:
    def __init__(self, on: git_serving.Repertoire) -> None:
        self.on = on
        self.count = len(on.conversation.exchanges)

    def about(self, host: str, port: int) -> list[str]:
        return serve_git.about(self.on, host, port)

    def summary(self) -> list[str]:
        used = serve_git.summary(self.on)
        return _misses(self.on.misses) + ([f"equal only after: {used}"] if used else [])

    def serve(self, sock: socket.socket) -> None:
        serve_git.serve(sock, self.on)


def _thread(sock: socket.socket, play: _Postgres | _Git, room: threading.Semaphore) -> None:
    try:
        play.serve(sock)
    finally:
        room.release()
