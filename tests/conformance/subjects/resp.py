"""RESP: pipelines, refusals in their middle, a transaction, a RESP3 greeting."""

from __future__ import annotations

import re

from subject import Script, Subject
from words_resp import array

from protocols.contract import Destined
from protocols.wire import Side

TOKEN = b"canary-token-9d2e"
AUTH = array(["AUTH", "agent", TOKEN.decode()])
HELLO = array(["HELLO", "3", "AUTH", "agent", TOKEN.decode()])


def command(line: str) -> bytes:
    return array(line.split())


def commands(*lines: str) -> bytes:
    return b"".join(map(command, lines))


def read(raw: bytes, at: int) -> tuple[list[bytes], int] | None:
    """A command of the wire, None when it is not whole; ValueError if it is none."""
    end = raw.find(b"\n", at)
    if end < 0:
        return None
    line = raw[at:end].rstrip(b"\r")
    if not line.startswith(b"*"):
        return line.split(), end + 1
    words, at = [], end + 1
    for _ in range(int(line[1:])):
        end = raw.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(raw[at + 1 : end])
        if len(raw) < end + 4 + size:
            return None
        words.append(raw[end + 2 : end + 2 + size])
        at = end + 4 + size
    return words, at


class Redis:
    def __init__(self) -> None:
        self.buffer = b""
        self.queued: list[bytes] | None = None
        self.spoilt = False

    def receive(self, data: bytes) -> bytes:
        self.buffer += data
        out = b""
        while self.buffer:
            try:
                found = read(self.buffer, 0)
            except ValueError:
                self.buffer = b""
                return out + b"-ERR Protocol error\r\n"
            if found is None:
                break
            words, size = found
            self.buffer = self.buffer[size:]
            if words:
                out += self.reply(words)
        return out

    def reply(self, words: list[bytes]) -> bytes:
        verb = words[0].upper()
        known = {
            b"AUTH": b"+OK\r\n",
            b"SELECT": b"+OK\r\n",
            b"SET": b"+OK\r\n",
            b"GET": b"$5\r\nva\r\nl\r\n",
            b"DEL": b":1\r\n",
            b"FLUSHALL": b"+OK\r\n",
            b"LRANGE": b"*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n$0\r\n\r\n",
            b"HGETALL": b"%2\r\n+a\r\n,1.5\r\n+b\r\n#t\r\n",
            b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n",
            b"SUBSCRIBE": b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>2\r\n+a\r\n*0\r\n",
            b"FAIL": b"-ERR on purpose\r\n",
        }
        if verb == b"MULTI":
            self.queued, self.spoilt = [], False
            return b"+OK\r\n"
        if verb == b"EXEC" and self.queued is not None:
            queued, self.queued = self.queued, None
            if self.spoilt:
                return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
            return b"*%d\r\n" % len(queued) + b"".join(queued)
        if verb not in known:
            self.spoilt = True
            shown = words[0][:100].replace(b"\r", b" ").replace(b"\n", b" ")
            return b"-ERR unknown command '" + shown + b"', with args beginning with: \r\n"
        if self.queued is not None:
            self.queued.append(known[verb])
            return b"+QUEUED\r\n"
        return known[verb]


VALUE = re.compile(rb"[+\-:_#,(][^\r\n]*\r\n|[$!=](-1|[0-9]+)\r\n|([*~>%|])(-1|[0-9]+)\r\n")


def skip(raw: bytes, at: int) -> int:
    """Where the value at ``at`` ends."""
    found = VALUE.match(raw, at)
    assert found, raw[at : at + 40]
    at = found.end()
    if found[1]:
        size = int(found[1])
        if size >= 0:
            assert raw[at + size : at + size + 2] == b"\r\n"
            at += size + 2
    elif found[2]:
        for _ in range(max(0, int(found[3])) * (2 if found[2] in b"%|" else 1)):
            at = skip(raw, at)
        if found[2] == b"|":
            at = skip(raw, at)
    return at


def refusals(raw: bytes) -> int:
    at = count = 0
    while at < len(raw):
        end = skip(raw, at)
        whole = raw[at:end]
        count += whole == (b"-NOPERM blocked by rule the-rule: the reason (session session-1)\r\n")
        at = end
    return count


SUBJECT = Subject(
    scripts={
        "plain": Script((AUTH, command("SET k v"), b"GET k\r\n", command("LRANGE l 0 -1")), 1),
        "pipeline": Script(
            (
                AUTH,
                commands("SET k v", "DEL forbidden", "GET k", "FAIL x")
                + b"get k\n"
                + commands("FLUSHALL forbidden", "LRANGE l 0 -1"),
                commands("GET k", "DEL forbidden"),
            ),
            1,
        ),
        "transaction": Script(
            (
                AUTH,
                commands("MULTI", "SET a 1", "GET a", "EXEC"),
                commands("MULTI", "SET a 1", "DEL forbidden", "EXEC", "GET a"),
            ),
            1,
        ),
        "resp3": Script(
            (HELLO, commands("HGETALL h", "SUBSCRIBE c", "DEL forbidden", "HGETALL h")), 1
        ),
        "gateway": Script(
            (
                command("PING") + AUTH,
                commands("MONITOR", "GET k", "RESET", "CLIENT REPLY OFF") + AUTH,
                commands("GET k", "QUIT"),
            ),
            1,
            identity=False,
        ),
    },
    server=Redis,
    destined=Destined("svc", "1", "disable", b"", {"auth": ("cleartext",)}),
    canaries=(TOKEN,),
    forbidden="forbidden",
    refusals=refusals,
    oversized=(
        (Side.CLIENT, b"*2\r\n$3\r\nGET\r\n$1000000\r\n"),
        (Side.CLIENT, b"*9999999\r\n"),
        (Side.CLIENT, b"GET " + b"x" * 70_000),
        (Side.UPSTREAM, b"+" + b"x" * 70_000),
        (Side.UPSTREAM, b"*1\r\n" * 200),
    ),
)
