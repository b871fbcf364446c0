"""``gateway worker``: what the supervisor starts; not for people."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from gateway.commands import CommandError, read_config
from gateway.commands.serve import allow_descriptors, serve_here
from gateway.worker import Post


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("worker")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--sockets", required=True, help="descriptors, comma separated")
    parser.add_argument("--debug", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    supervisor = os.getppid()
    try:
        config = read_config(arguments.config)
    except CommandError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return error.code
    allow_descriptors()
    sockets = tuple(socket.socket(fileno=int(fd)) for fd in arguments.sockets.split(","))
    for sock in sockets:
        sock.setblocking(False)
    return serve_here(config, Post(arguments.number, sockets, arguments.debug, supervisor))
