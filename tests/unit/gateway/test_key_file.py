"""Private keys in files, and what of them is looked for in results."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.key_file import KeyFileError, own_key, private_key, read_key
from gateway.policy.own import own_screen
from gateway.secrets.key_pieces import key_pieces

Make = Callable[..., bytes]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def run(*options: str, phrase: str = "") -> bytes:
        where = tmp_path / f"k{len(list(tmp_path.iterdir()))}"
        words = ["ssh-keygen", "-q", "-N", phrase, "-C", "me@here", "-f", str(where), *options]
        subprocess.run(words, check=True)
        return where.read_bytes()

    return run


def test_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    where = tmp_path / "state" / "key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(own_key, [where] * 8))
    assert made == {where.read_bytes()}
    assert where.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in where.parent.iterdir()] == ["key"]
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", where], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("ssh-ed25519 ")


def test_what_is_no_key_of_ours(tmp_path: Path) -> None:
    where = tmp_path / "key"
    assert read_key(where) is None
    own_key(where)
    for mode in (0o640, 0o604, 0o666):
        where.chmod(mode)
        with pytest.raises(KeyFileError, match=rf"mode {mode:04o}\); make it 0600"):
            own_key(where)
    where.chmod(0o600)
    where.write_text("x")
    with pytest.raises(KeyFileError, match="is not a private key"):
        own_key(where)
    with pytest.raises(KeyFileError, match="directory"):
        read_key(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(KeyFileError, match="no file"):
        read_key(tmp_path / "fifo")
    with pytest.raises(KeyFileError, match="can't be"):
        own_key(where / "below")


def test_a_passphrase_is_told(make: Make) -> None:
    locked = make("-t", "ed25519", phrase="pencil")
    pem = make("-t", "rsa", "-b", "2048", "-m", "PEM", phrase="pencil")
    for raw in (locked, pem):
        with pytest.raises(ValueError, match="has a passphrase"):
            private_key(raw)


@pytest.mark.parametrize(
    "options",
    [
        ("-t", "ed25519"),
        ("-t", "ecdsa"),
        ("-t", "rsa", "-b", "3072"),
        ("-t", "rsa", "-b", "2048", "-m", "PEM"),
        ("-t", "ecdsa", "-m", "PKCS8"),
    ],
)
def test_nothing_of_a_key_gets_through(make: Make, options: tuple[str, ...]) -> None:
    raw = make(*options)
    screen = own_screen(key_pieces(raw.removesuffix(b"\n")))
    assert screen is not None

    def shown(text: bytes) -> bytes:
        for start, end in reversed(screen.spans(text)):
            text = text[:start] + text[end:]
        return text

    body = [line for line in raw.splitlines() if b"-----" not in line]
    for form in (raw, raw.replace(b"\n", b"\\n"), raw.replace(b"\n", b"\r\nremote: ")):
        left = shown(form)
        assert not [line for line in body if line in left and len(line) >= 8]
        assert not any(line[at : at + 9] in left for line in body for at in range(len(line) - 8))
    for number in key_pieces(raw)[len([line for line in body if len(line) >= 8]) :]:
        for form in (number, number.hex().encode(), base64.b64encode(b"xx" + number + b"yy")):
            assert len(shown(b"<" + form + b">")) <= 16
