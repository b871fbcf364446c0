"""Messages between the gateway and the examining process: four bytes of length, then
msgpack; open files travel beside the length (SCM_RIGHTS)."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

HEAD: Final = 4
LARGEST: Final = 256 << 20
FILES_MOST: Final = 4


class ChannelError(Exception):
    """The other end is gone, or says what can't be read."""


def pack(message: object) -> bytes:
    body: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    return len(body).to_bytes(HEAD) + body


def unpack(body: bytes) -> Any:
    try:
        return msgpack.unpackb(body, unicode_errors="surrogateescape")
    except ValueError as error:
        raise ChannelError("a message that can't be read") from error


def length_of(head: bytes) -> int:
    length = int.from_bytes(head)
    if length > LARGEST:
        raise ChannelError("a message that is too long")
    return length


def send(sock: socket.socket, message: object) -> None:
    """Blocking."""
    sock.sendall(pack(message))


def receive(sock: socket.socket) -> tuple[Any, list[int]] | None:
    """Blocking: a message and the files that came with it, None at the end."""
    head, files, _, _ = socket.recv_fds(sock, HEAD, FILES_MOST)
    if not head:
        return None
    try:
        head += _exactly(sock, HEAD - len(head))
        return unpack(_exactly(sock, length_of(head))), files
    except BaseException:
        for each in files:
            os.close(each)
        raise


def _exactly(sock: socket.socket, size: int) -> bytes:
    out = bytearray()
    while len(out) < size:
        data = sock.recv(min(size - len(out), 1 << 20))
        if not data:
            raise ChannelError("the other end is gone")
        out += data
    return bytes(out)
