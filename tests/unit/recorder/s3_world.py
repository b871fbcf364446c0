"""Object stores for tests: moto's server, Ceph's radosgw, and a proxy in front of either that
does what networks and stores do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PASS, STRIP, CUT, SWALLOW = "pass", "strip", "cut", "swallow"
"""What becomes of a request: it goes on; without its If-None-Match; the connection ends before it
goes on; it goes on, and the connection ends before the answer. Or a status, and a code of S3 or a
whole answer."""
Verdict = str | tuple[int, str]
Judge = Callable[[str, str], Verdict]


class Crooked:
    """A proxy in front of the store at ``url``. ``judge`` is asked about each request (method and
    path); ``asked`` are those that came."""

    def __init__(self, url: str) -> None:
        self.judge: Judge = lambda method, path: PASS
        self.asked: list[tuple[str, str]] = []
        target = urlsplit(url)
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                world.asked.append((self.command, self.path))
                said = world.judge(self.command, self.path)
                if said == CUT:
                    self._cut()
                    return
                if isinstance(said, tuple):
                    text = f"<Error><Code>{said[1]}</Code><Message>no</Message></Error>"
                    text = said[1] if said[1].startswith("<") else text
                    self._answer(said[0], [("Content-Type", "application/xml")], text.encode())
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
                if said == STRIP:
                    headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
                back = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
                try:
                    back.request(self.command, self.path, body, headers)
                    found = back.getresponse()
                    data = found.read()
                except OSError:
                    self._cut()
                    return
                finally:
                    back.close()
                if said == SWALLOW:
                    self._cut()
                    return
                self._answer(found.status, found.getheaders(), data)

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
                self.send_response_only(status)
                length = str(len(data))
                for key, value in headers:
                    if key.lower() == "content-length":
                        length = value if self.command == "HEAD" else length
                    elif key.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(key, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def crooked(url: str) -> Iterator[Crooked]:
    """A proxy in front of ``url``."""
    made = Crooked(url)
    try:
        yield made
    finally:
        made.stop()


def moto() -> Iterator[str]:
    """The URL of moto's server, which holds nothing."""
    import httpx
    import pytest

    server_module = pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = server_module.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    httpx.post(f"{url}/moto-api/reset")  # what it holds is its process's
    yield url
    server.stop()
