"""Secret references: a typo or a literal is never a value."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import traceback
from pathlib import Path

import pytest

from gateway.secrets.references import ReferenceInvalid, Secret, SecretUnavailable
from gateway.secrets.sensitive import Sensitive

CANARY = "s3cret-c4nary"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CANARY, "env, file"),
        ("", "env, file"),
        ("reff+env://X", "env, file"),
        ("ref+env:/X", "env, file"),
        ("env://X", "env, file"),
        ("REF+env://X", "env, file"),
        (" ref+env://X", "env, file"),
        ("ref+env://X\n", "env, file"),
        ("ref+env://", "env, file"),
        ("ref+fil://x", "did you mean 'file'"),
        ("ref+vault://secret/x#y", "unknown scheme 'vault'"),
        ("ref+env://A B", "environment variable"),
        ("ref+env://A-B", "environment variable"),
        ("ref+env://X#y", "#key"),
        ("ref+file://x#", "env, file"),
        ("ref+file://x#a//b", "empty name"),
    ],
)
def test_texts_that_are_no_reference(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ReferenceInvalid) as caught:
        Secret(text, tmp_path)
    assert says in str(caught.value)
    assert CANARY not in str(caught.value)


def test_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("ref+env://WW_TEST", tmp_path)
    monkeypatch.delenv("WW_TEST", raising=False)
    with pytest.raises(SecretUnavailable, match="WW_TEST is not set"):
        secret.resolve()
    monkeypatch.setenv("WW_TEST", "")
    with pytest.raises(SecretUnavailable, match="empty"):
        secret.resolve()
    os.environb[b"WW_TEST"] = b"\xff" + CANARY.encode()
    assert secret.resolve().reveal() == b"\xff" + CANARY.encode()


def test_file_whole(tmp_path: Path) -> None:
    where = tmp_path / "pass"
    secret = Secret("ref+file://pass", tmp_path)
    with pytest.raises(SecretUnavailable, match="No such file"):
        secret.resolve()
    for raw, value in ((b"a b\n", b"a b"), (b"a\r\n", b"a"), (b"a\n\n", b"a\n"), (b" a ", b" a ")):
        where.write_bytes(raw)
        assert secret.resolve().reveal() == value
    assert Secret(f"ref+file://{where}", Path("/nowhere")).resolve()
    where.write_bytes(b"\n")
    with pytest.raises(SecretUnavailable, match="empty"):
        secret.resolve()
    where.write_bytes(b"x" * (2 << 20))
    with pytest.raises(SecretUnavailable, match="larger"):
        secret.resolve()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", json.dumps({"prod": {"password": CANARY, "n": 5, "list": ["a", "b"]}})),
        ("s.toml", f'[prod]\npassword = "{CANARY}"\nn = 5\nlist = ["a", "b"]\n'),
    ],
)
def test_file_key(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    def value(key: str) -> bytes:
        return Secret(f"ref+file://{name}#{key}", tmp_path).resolve().reveal()

    assert value("prod/password") == value("/prod/password") == CANARY.encode()
    assert value("prod/list/1") == b"b"
    for key in ("prod", "prod/n", "prod/none", "prod/list/2", "prod/list/-1", "prod/password/0"):
        with pytest.raises(SecretUnavailable) as caught:
            value(key)
        assert CANARY not in str(caught.value)
    (tmp_path / name).write_text(f"{CANARY} = = {CANARY}")
    with pytest.raises(SecretUnavailable) as caught:
        value("prod/password")
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_rotated_secret_is_picked_up(tmp_path: Path) -> None:
    secret = Secret("ref+file://pass", tmp_path)
    (tmp_path / "pass").write_text("one")
    assert secret.resolve().reveal() == b"one"
    (tmp_path / "pass").write_text("two")
    assert secret.resolve().reveal() == b"two"


def test_a_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    where = tmp_path / "pass"
    secret = Secret("ref+file://pass", tmp_path)
    assert secret.warnings() == []
    where.write_text(CANARY)
    for mode in (0o644, 0o640, 0o602):
        where.chmod(mode)
        assert "make it 0600" in secret.warnings()[0]
    where.chmod(0o600)
    assert secret.warnings() == []


def test_a_reference_prints_as_itself(tmp_path: Path) -> None:
    secret = Secret("ref+file://a b.json#x/y", tmp_path)
    assert str(secret) == secret.reference == "ref+file://a b.json#x/y"
    assert secret == Secret("ref+file://a b.json#x/y", tmp_path)
    assert secret != Secret("ref+file://a b.json#x", tmp_path)
    assert len({secret, Secret("ref+file://a b.json#x/y", tmp_path)}) == 1


def test_sensitive_cannot_be_printed(caplog: pytest.LogCaptureFixture) -> None:
    value = Sensitive(CANARY.encode())
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").warning("%s %r", value, {"a": [value]})
    shown = [
        str(value),
        repr(value),
        f"{value}",
        f"{value!r:>40}",
        "{}".format(*[value]),
    ]
    shown += [f"{value:x}", repr([value]), str(vars), caplog.text, str(dir(value))]
    assert all(CANARY not in text for text in shown)
    attempts = (pickle.dumps, copy.copy, copy.deepcopy, list, bytes, json.dumps, hash, len, vars)
    for attempt in attempts:
        with pytest.raises(TypeError) as caught:
            attempt(value)  # type: ignore[operator]
        assert CANARY not in str(caught.value)
    assert value == Sensitive(CANARY.encode())
    assert value != Sensitive(b"other")
    assert value != CANARY.encode()
    assert value
    assert not Sensitive(b"")
