"""git over SSH: a clone by each version of the protocol, pushes, and refusals."""

from __future__ import annotations

import hashlib
import zlib

from subject import Script, Subject

from protocols.contract import Destined
from protocols.git.pktline import pkt
from protocols.ssh.frames import LONGEST, Frames, Kind, frame
from protocols.wire import Side

TOKEN = b"canary-token-9d2e"
FLUSH, DELIM = b"0000", b"0001"
OLD, NEW, GONE = b"1" * 40, b"2" * 40, b"0" * 40
HOST = frame(Kind.READY, b"SHA256:of the host key")


def pack() -> bytes:
    """A pack of one blob (gitformat-pack(5))."""
    body = b"hello\n"
    raw = b"PACK\0\0\0\2\0\0\0\1" + bytes([0x30 | len(body)]) + zlib.compress(body)
    return raw + hashlib.sha1(raw).digest()


LOGIN = (frame(Kind.HELLO, b"git"), frame(Kind.SECRET, TOKEN))


def opened(program: str, version: int = 0, path: str = "/org/repo.git") -> bytes:
    env = frame(Kind.ENV, b"version=%d" % version) if version else b""
    return env + frame(Kind.EXEC, f"{program} '{path}'".encode())


def data(*lines: bytes) -> bytes:
    return frame(Kind.DATA, b"".join(lines))


def update(old: bytes, new: bytes, ref: bytes, capabilities: bytes = b"") -> bytes:
    tail = b"\0 " + capabilities if capabilities else b""
    return pkt(old + b" " + new + b" " + ref + tail)


class Upstream:
    """What sshd with git would answer: enough of it to keep the talk going."""

    def __init__(self) -> None:
        self.frames = Frames(Side.UPSTREAM)
        self.version = 0
        self.push = False
        self.input = b""

    def receive(self, data: bytes) -> bytes:
        try:
            return b"".join(self.reply(kind, body) for kind, body in self.frames.feed(data))
        except Exception:
            return b""

    def reply(self, kind: Kind, body: bytes) -> bytes:
        if kind is Kind.LOGIN:
            return frame(Kind.OPENED)
        if kind is Kind.ENV:
            self.version = int(body[-1:])
        if kind is Kind.EXEC:
            self.push = body.startswith(b"git-receive-pack")
            return frame(Kind.STARTED) + self.greeting()
        if kind is Kind.DATA:
            self.input += body
            return self.answer()
        if kind is Kind.EOF:
            return self.leave()
        return b""

    def leave(self) -> bytes:
        return frame(Kind.EOF) + frame(Kind.EXIT, b"\0\0\0\0")

    def greeting(self) -> bytes:
        if self.version == 2 and not self.push:
            return data_of(
                pkt(b"version 2\n") + pkt(b"agent=git/2.39\n") + pkt(b"ls-refs=unborn\n")
                + pkt(b"fetch=shallow wait-for-done filter\n") + pkt(b"server-option\n")
                + pkt(b"object-format=sha1\n") + FLUSH
            )  # fmt: skip
        caps = b"report-status delete-refs side-band-64k quiet atomic ofs-delta agent=git/2.39"
        if not self.push:
            caps = b"multi_ack thin-pack side-band side-band-64k ofs-delta shallow agent=git/2.39"
        return data_of(
            pkt(OLD + b" refs/heads/forbidden\0" + caps + b"\n")
            + pkt((OLD if self.push else NEW) + b" refs/heads/main\n")
            + FLUSH
        )

    def answer(self) -> bytes:
        if self.push:
            at = self.input.find(FLUSH)
            if at < 0:
                return b""
            commands, rest = self.input[:at], self.input[at + 4 :]
            if not commands:
                return self.leave()
            deletes = b" " + GONE + b" " in commands and NEW not in commands
            if not deletes and len(rest) < len(pack()):
                return b""
            self.input = b""
            report = pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + FLUSH
            said = pkt(b"\x02from a hook\n") + pkt(b"\x01" + report) + FLUSH
            return data_of(said) + self.leave()
        if b"done\n" in self.input:
            self.input = b""
            section = pkt(b"packfile\n") if self.version == 2 else pkt(b"NAK\n")
            body = pkt(b"\x02Counting\r") + pkt(b"\x01" + pack()) + FLUSH
            return data_of(section + body) + (b"" if self.version == 2 else self.leave())
        if b"command=ls-refs" in self.input and self.input.endswith(FLUSH):
            self.input = b""
            return data_of(
                pkt(OLD + b" refs/heads/forbidden\n") + pkt(NEW + b" refs/heads/main\n") + FLUSH
            )
        return b""


def data_of(raw: bytes) -> bytes:
    return frame(Kind.DATA, raw)


def refusals(raw: bytes) -> int:
    """Refusals in what the client got: in the error line of a fetch, once in the
    report of a push, or on standard error."""
    reader = Frames(Side.CLIENT)
    frames = reader.feed(raw)
    assert not reader.waiting, "half a frame"
    assert all(len(body) <= LONGEST for _, body in frames)
    out = b"".join(body for kind, body in frames if kind in (Kind.DATA, Kind.GOODBYE))
    return out.count(b"blocked by rule the-rule: the reason (session session-1)")


LS_REFS = data(pkt(b"command=ls-refs\n"), pkt(b"agent=git/2.39\n"), DELIM, pkt(b"peel\n"), FLUSH)
CAPS = b"report-status side-band-64k agent=git/2.39"


def fetch(*wants: bytes) -> bytes:
    asked = b"".join(pkt(b"want " + oid + b"\n") for oid in wants)
    return data(pkt(b"command=fetch\n"), DELIM, pkt(b"ofs-delta\n"), asked, pkt(b"done\n"), FLUSH)


SUBJECT = Subject(
    scripts={
        "clone v2": Script((*LOGIN, opened("git-upload-pack", 2), LS_REFS, fetch(NEW)), 3),
        "clone v0": Script(
            (
                *LOGIN,
                opened("git-upload-pack"),
                data(pkt(b"want " + NEW + b" multi_ack side-band-64k ofs-delta\n"), FLUSH)
                + data(pkt(b"done\n")),
            ),
            3,
        ),
        "refused fetch": Script(
            (*LOGIN, opened("git-upload-pack", 2), LS_REFS, fetch(OLD)), 2, False
        ),
        "push": Script(
            (
                *LOGIN,
                opened("git-receive-pack"),
                data(update(OLD, NEW, b"refs/heads/main", CAPS), FLUSH)
                + data(pack()[:20])
                + data(pack()[20:])
                + frame(Kind.EOF),
            ),
            3,
            False,
        ),
        "refused push": Script(
            (
                *LOGIN,
                opened("git-receive-pack"),
                data(update(OLD, GONE, b"refs/heads/forbidden", CAPS), FLUSH),
            ),
            2,
            False,
        ),
        "refused fetch v0": Script(
            (
                *LOGIN,
                opened("git-upload-pack"),
                data(pkt(b"want " + OLD + b" side-band-64k\n"), FLUSH, pkt(b"done\n")),
            ),
            2,
            False,
        ),
        "turned away": Script(
            (
                *LOGIN,
                frame(Kind.REFUSED, b"pty-req") + opened("git-upload-pack"),
                data(FLUSH) + frame(Kind.EOF),
            ),
            2,
            False,
        ),
    },
    server=Upstream,
    destined=Destined("git", "org/repo", "", b"", {"root": "/srv"}),
    canaries=(TOKEN,),
    forbidden="forbidden",
    refusals=refusals,
    oversized=(
        (Side.CLIENT, b"d" + (LONGEST + 1).to_bytes(4, "big")),
        (Side.UPSTREAM, b"d" + (LONGEST + 1).to_bytes(4, "big")),
    ),
    greeting=HOST,
    waits=3,
)
