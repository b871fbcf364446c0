"""Row 32: the version that a client asks for is parsed or ignored, and other ways to a
repository's data are not there: no dumb HTTP, no LFS, no bundle server. Goes red when
GIT_PROTOCOL is handed on as it came.
"""

from __future__ import annotations

import socket

import pytest
from git_kit import FLUSH, Attack

JUNK = ["version=3", "version=-1", "version=2:version=0", "version=2 ; id", "x" * 3000, "version=",
        "version=2:option=--upload-pack=id", "2", "version=٢"]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "begins"),
    [("version=0", b""), ("version=1", b"000eversion 1"), ("version=2", b"000eversion 2")],
)
def test_versions(attack: Attack, protocol: str, begins: bytes) -> None:
    name, work = attack.seeded(1)
    said = attack.execute(f"git-upload-pack '{name}'", FLUSH, protocol=protocol)
    assert said.code == 0, said
    if begins:
        assert said.out.startswith(begins)
    else:
        assert work.id().encode() in said.out


@pytest.mark.parametrize("protocol", JUNK)
@pytest.mark.parametrize("service", ["upload", "receive"])
def test_junk(attack: Attack, service: str, protocol: str) -> None:
    """Ignored, or refused: never passed on."""
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    said = attack.execute(f"git-{service}-pack '{name}'", FLUSH, protocol=protocol)
    assert b"uid=" not in said.out + said.err
    assert said.code != 255
    unharmed()


def test_it_asks_for_no_other_variable(attack: Attack) -> None:
    """GIT_PROTOCOL is the only one; the server would take more if it were sent."""
    name, _ = attack.seeded(1)
    extra = "SetEnv GIT_TRACE=/tmp/wirewarden-owned GIT_CONFIG_COUNT=1\n"
    client = attack.stack.client(extra=extra)
    said = attack.execute(f"git-upload-pack '{name}'", FLUSH, client=client)
    assert said.code == 0, said


@pytest.mark.parametrize(
    "line",
    [
        "git-lfs-authenticate '{r}' download", "git-lfs-authenticate '{r}' upload",
        "git-lfs-transfer '{r}' upload", "git-http-backend", "git-daemon --export-all",
        "git-bundle create - --all", "git-upload-pack --http-backend-info-refs '{r}'",
        "git-receive-pack --advertise-refs '{r}'", "git-upload-pack --stateless-rpc '{r}'",
    ],
)  # fmt: skip
def test_other_doors(attack: Attack, line: str) -> None:
    name, _ = attack.seeded(1)
    before = attack.ran()
    said = attack.execute(line.replace("{r}", name), FLUSH)
    assert said.code not in (0, 255), said
    assert not said.out
    assert attack.ran() == before


@pytest.mark.parametrize(
    "head",
    [
        b"GET /org/app.git/info/refs HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /org/app.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /org/app.git/objects/info/packs HTTP/1.0\r\n\r\n",
        b"POST /org/app.git/info/lfs/objects/batch HTTP/1.1\r\nHost: x\r\n\r\n",
        b"0032git-upload-pack /org/app.git\0host=localhost\0",
    ],
)
def test_the_port_speaks_ssh_and_nothing_else(attack: Attack, head: bytes) -> None:
    before = attack.ran()
    with socket.create_connection(("127.0.0.1", attack.stack.port), 5) as sock:
        sock.settimeout(20)
        sock.sendall(head)
        said = b""
        try:
            while piece := sock.recv(4096):
                said += piece
        except OSError:
            pass
    assert said[:4] in (b"SSH-", b""), said[:80]
    assert b"HTTP/1" not in said
    assert attack.ran() == before
