"""A client that reads results as fast as they come, so that it is not what is
measured: libpq logs in, then the socket is ours."""

from __future__ import annotations

import os
import socket
from types import TracebackType

import psycopg

from bench.figures import BenchFault

READ = 1 << 18
READY = b"Z\0\0\0\x05"


class Stream:
    """A connection on which whole results are read as bytes."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=30)
        self._sock = socket.socket(fileno=os.dup(self._connection.pgconn.socket))
        self._sock.settimeout(120)

    def query(self, text: str) -> list[bytes]:
        """Run a simple query; all that came back, up to and with
        ReadyForQuery. Raises BenchFault on an error."""
        body = text.encode() + b"\0"
        self._sock.sendall(b"Q" + (len(body) + 4).to_bytes(4, "big") + body)
        pieces: list[bytes] = []
        tail = b""
        while True:
            data = self._sock.recv(READ)
            if not data:
                raise BenchFault("the connection ended within a result")
            pieces.append(data)
            tail = (tail + data)[-6:]
            # A row that ends in these very bytes would be taken for the end: the
            # rows of the bench are text and hold no NUL.
            if tail[:5] == READY:
                break
        if pieces[0][:1] == b"E":
            raise BenchFault(f"refused: {b''.join(pieces)[:300]!r}")
        return pieces

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sock.close()
        self._connection.close()


def rows(raw: bytes) -> list[tuple[bytes | None, ...]]:
    """The values of every DataRow in a result. Raises BenchFault on an error
    in it."""
    found = []
    at = 0
    while at < len(raw):
        kind = raw[at : at + 1]
        end = at + 1 + int.from_bytes(raw[at + 1 : at + 5], "big")
        if kind == b"E":
            raise BenchFault(f"an error within a result: {raw[at:end]!r}")
        if kind == b"D":
            place = at + 7
            values: list[bytes | None] = []
            for _ in range(int.from_bytes(raw[at + 5 : at + 7], "big")):
                length = int.from_bytes(raw[place : place + 4], "big", signed=True)
                place += 4
                if length < 0:
                    values.append(None)
                else:
                    values.append(raw[place : place + length])
                    place += length
            found.append(tuple(values))
        at = end
    return found
