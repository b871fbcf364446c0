"""Row 86: keys come from the one configured place, and strangers' tokens do not make
the gateway fetch them over and over.

A small HTTP server on loopback serves the key set and counts.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from stack import Stack
from test_083_forged_tokens import HEAD, attempt, good, sign
from wire import Wire

from gateway.demo.postgres import Server


class Keys(http.server.BaseHTTPRequestHandler):
    body = b""
    status = 200
    count = 0

    def do_GET(self) -> None:
        Keys.count += 1
        self.send_response(Keys.status)
        if Keys.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(Keys.body)))
        self.end_headers()
        self.wfile.write(Keys.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def fetching(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from gateway.demo.issuer import DemoIssuer

    issuer = DemoIssuer(tmp_path_factory.mktemp("web"), iss="https://web.demo.invalid")
    Keys.body = issuer.jwks.read_bytes()
    extra = f"""
[issuer.web]
iss = "{issuer.iss}"
audience = "wirewarden"
algorithms = ["ES256"]
jwks = "http://127.0.0.1:{server.server_port}/jwks"
"""
    stack = started(pg, extra=extra)
    stack.web = issuer  # type: ignore[attr-defined]
    yield stack
    server.shutdown()


def test_unknown_keys_do_not_flood_the_issuer(fetching: Stack) -> None:
    web = fetching.web  # type: ignore[attr-defined]
    with Wire(fetching.port) as wire:
        assert wire.login(web.token("x"), {"user": "a", "database": "shop"}).status == "I"
    before = Keys.count
    for number in range(60):
        token = sign(fetching, {**HEAD, "kid": f"k{number}"}, good(fetching, iss=web.iss))
        assert attempt(fetching, token) == "28P01"
    assert Keys.count - before <= 3
    with Wire(fetching.port) as wire:
        assert wire.login(web.token("x"), {"user": "a", "database": "shop"}).status == "I"


@pytest.mark.parametrize(
    "jwks",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://example.com/jwks", "https://u:p@x/",
     "gopher://127.0.0.1/", "https:///x", "data:application/json,{}"],
)  # fmt: skip
def test_other_places_stop_the_start(anything: Stack, jwks: str) -> None:
    text = anything.config_file.read_text()
    other = anything.folder / "other.toml"
    other.write_text(text.replace(f'jwks = "{anything.issuer.jwks}"', f'jwks = "{jwks}"'))
    from gateway.config import ConfigErrors, load_config

    with pytest.raises(ConfigErrors, match="jwks"):
        load_config(other)
