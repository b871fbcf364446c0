"""``gateway serve``: run the gateway."""

from __future__ import annotations

import argparse
import resource
import shutil
import socket
import ssl
import sys
from importlib.util import find_spec

import trio

from gateway.commands import CommandError, add_config, read_config
from gateway.config import Config
from gateway.held import held_secrets
from gateway.key_file import KeyFileError
from gateway.listener import bind
from gateway.listening import Listener
from gateway.policy.errors import PolicyErrors
from gateway.policy.own import own_screen
from gateway.policy_file import load_policy
from gateway.secrets.errors import SecretUnavailable
from gateway.services import Services
from gateway.supervisor import Supervisor
from gateway.worker import Post, WorkerLost, work
from recorder.errors import RecorderError
from recorder.recovery import recover_idle


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Listen, and serve until SIGTERM (which drains sessions for up to 30 s). "
        "SIGHUP reads the policy anew: open sessions keep the one they began with.",
    )
    add_config(parser)
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes (default: the file's)"
    )
    parser.add_argument("--debug", action="store_true", help="print tracebacks of internal errors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        config = read_config(arguments.config)
        workers = config.workers if arguments.workers is None else arguments.workers
        if not 1 <= workers <= 64:
            raise CommandError("--workers takes 1 to 64", 2)
        check_loadable(config)
        sockets = open_sockets(config)
        recover(config)
    except CommandError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return error.code
    allow_descriptors()
    for listener, sock in zip(config.listeners, sockets, strict=True):
        host, port = sock.getsockname()[:2]
        print(f"gateway: {listener.protocol} on {host}:{port}", file=sys.stderr, flush=True)
    if workers > 1:
        return Supervisor(config, sockets, workers, debug=arguments.debug).run()
    return serve_here(config, Post(0, tuple(sockets), arguments.debug))


def serve_here(config: Config, post: Post) -> int:
    """Be a worker until told to stop."""

    def started(_: Services) -> None:
        print("gateway: ready", file=sys.stderr, flush=True)

    try:
        trio.run(work, config, post, started)
    except RecorderError as error:
        print(f"gateway: the recorder can't start: {error}", file=sys.stderr)
        return 1
    except ExceptionGroup as group:
        if group.split(WorkerLost)[1] is not None:
            raise
        return 1
    return 0


def check_loadable(config: Config, *, secrets: bool = True) -> None:
    """Everything that can be wrong before the first connection; without
    ``secrets`` those are not asked for."""
    needs_git = [name for name, target in config.targets.items() if target.key is not None]
    if needs_git and shutil.which("git") is None:
        raise CommandError(
            f"target {needs_git[0]} is a git server, and there is no git program on PATH to look "
            "into pushes with: install git"
        )
    if config.store.index and find_spec("psycopg") is None:
        raise CommandError("a shared store needs psycopg: install wirewarden[store]")
    try:
        load_policy(config)
        if secrets:
            own_screen(held_secrets(config))
        for item in config.listeners:
            # A check leaves nothing behind: serve makes the host key, as who it runs as.
            if secrets or item.host_key is None or item.host_key.exists():
                Listener.from_config(item)
    except (PolicyErrors, SecretUnavailable, KeyFileError, ValueError) as errors:
        raise CommandError(str(errors)) from errors
    except (OSError, ssl.SSLError) as error:
        raise CommandError(str(error)) from error


def recover(config: Config) -> None:
    """Recover the journals of workers that will not run this time (there were
    more of them before); each worker recovers its own."""
    try:
        recover_idle(config.state)
    except (RecorderError, OSError) as error:
        print(f"gateway: a journal can't be recovered: {error}", file=sys.stderr, flush=True)


def open_sockets(config: Config) -> list[socket.socket]:
    sockets = []
    for item in config.listeners:
        try:
            sockets.append(bind(*item.address))
        except OSError as error:
            raise CommandError(f"can't listen on {item.address}: {error.strerror}") from error
    return sockets


def allow_descriptors() -> None:
    """Two sockets per session: take what the hard limit grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
