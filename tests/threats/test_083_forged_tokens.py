"""Rows 83 and 84: tokens that are not the issuer's, or not for us, do not pass the front
door of a real gateway; an honest one does.

Goes red without the check that ``aud`` is ours alone in ``gateway.identity.oidc``. (The
issuer's list of algorithms alone can go: each key names its own as well.)
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc.jwk import ECKey
from stack import Stack
from wire import Wire


def b64(raw: bytes | str) -> str:
    data = raw.encode() if isinstance(raw, str) else raw
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def good(stack: Stack, **change: Any) -> dict[str, Any]:
    now = int(time.time())
    body = {"iss": stack.issuer.iss, "aud": stack.issuer.audience, "sub": "agent-7",
            "iat": now, "exp": now + 300, "groups": ["developers"], **change}  # fmt: skip
    return {k: v for k, v in body.items() if v is not None}


HEAD = {"alg": "ES256", "kid": "demo-1", "typ": "JWT"}


def sign(stack: Stack, head: Any, body: Any, key: Any = None) -> str:
    from joserfc.jws import JWSRegistry

    key = key or ECKey.import_key(
        json.loads((stack.folder / "issuer" / "issuer-key.json").read_text())
    )
    parts = [b64(p if isinstance(p, (str, bytes)) else json.dumps(p)) for p in (head, body)]
    signing = ".".join(parts)
    return f"{signing}.{b64(JWSRegistry.algorithms['ES256'].sign(signing.encode(), key))}"


def hs256(stack: Stack, secret: bytes, head: dict[str, Any]) -> str:
    signing = f"{b64(json.dumps(head))}.{b64(json.dumps(good(stack)))}"
    return f"{signing}.{b64(hmac.digest(secret, signing.encode(), 'sha256'))}"


OTHER = ECKey.generate_key("P-256", {"kid": "demo-1", "use": "sig", "alg": "ES256"})


def forgeries(stack: Stack) -> dict[str, str]:
    jwks = stack.issuer.jwks.read_bytes()
    public = ECKey.import_key(json.loads(jwks)["keys"][0])
    now = int(time.time())
    body = good(stack)
    text = json.dumps(body)
    honest = sign(stack, HEAD, body)
    first, second, third = honest.split(".")
    none = b64(json.dumps({"alg": "none"}))
    return {
        "alg none": f"{none}.{second}.",
        "alg None with a signature": f"{b64(json.dumps({'alg': 'None'}))}.{second}.{third}",
        "alg nONE, kid": f"{b64(json.dumps({**HEAD, 'alg': 'nONE'}))}.{second}.",
        "hs256 with the public pem": hs256(stack, public.as_pem(private=False),
                                           {**HEAD, "alg": "HS256"}),
        "hs256 with the jwks": hs256(stack, jwks, {**HEAD, "alg": "HS256"}),
        "hs256 with nothing": hs256(stack, b"", {**HEAD, "alg": "HS256"}),
        "es512 said": sign(stack, {**HEAD, "alg": "ES512"}, body),
        "rs256 said": sign(stack, {**HEAD, "alg": "RS256"}, body),
        "another key": sign(stack, HEAD, body, OTHER),
        "embedded jwk": sign(stack, {**HEAD, "jwk": OTHER.as_dict(private=False)}, body, OTHER),
        "jku": sign(stack, {**HEAD, "jku": "http://127.0.0.1:1/jwks"}, body, OTHER),
        "x5u": sign(stack, {**HEAD, "x5u": "http://127.0.0.1:1/x"}, body, OTHER),
        "x5c": sign(stack, {**HEAD, "x5c": [b64(b"x")]}, body, OTHER),
        "crit": sign(stack, {**HEAD, "crit": ["b64"], "b64": True}, body),
        "crit unknown": sign(stack, {**HEAD, "crit": ["x"], "x": 1}, body),
        "unknown kid": sign(stack, {**HEAD, "kid": "demo-2"}, body),
        "kid path": sign(stack, {**HEAD, "kid": "../../etc/passwd"}, body),
        "kid of no text": sign(stack, {**HEAD, "kid": 1}, body),
        "typ of something else": sign(stack, {**HEAD, "typ": "secevent+jwt"}, body),
        "signature cut": f"{first}.{second}.{third[:-2]}",
        "signature empty": f"{first}.{second}.",
        "signature of zeros": f"{first}.{second}.{b64(bytes(64))}",
        "body of another": f"{first}.{b64(text.replace('agent-7', 'root-01'))}.{third}",
        "duplicate claim": sign(stack, HEAD, text[:-1] + ', "sub": "root"}'),
        "duplicate header": sign(stack, '{"alg":"none","alg":"ES256","kid":"demo-1"}', body),
        "no aud": sign(stack, HEAD, good(stack, aud=None)),
        "another aud": sign(stack, HEAD, good(stack, aud="other")),
        "aud prefix": sign(stack, HEAD, good(stack, aud="wirewarden.evil")),
        "aud among others": sign(stack, HEAD, good(stack, aud=["wirewarden", "other"])),
        "aud empty list": sign(stack, HEAD, good(stack, aud=[])),
        "aud of no text": sign(stack, HEAD, good(stack, aud={"wirewarden": 1})),
        "no exp": sign(stack, HEAD, good(stack, exp=None)),
        "expired": sign(stack, HEAD, good(stack, exp=now - 60, iat=now - 600)),
        "exp of text": sign(stack, HEAD, good(stack, exp=str(now + 300))),
        "exp infinite": sign(stack, HEAD, text.replace(str(body["exp"]), "1e999")),
        "exp NaN": sign(stack, HEAD, text.replace(str(body["exp"]), "NaN")),
        "exp true": sign(stack, HEAD, good(stack, exp=True)),
        "no iat": sign(stack, HEAD, good(stack, iat=None)),
        "iat in the future": sign(stack, HEAD, good(stack, iat=now + 3600, exp=now + 7200)),
        "not before": sign(stack, HEAD, good(stack, nbf=now + 3600)),
        "no iss": sign(stack, HEAD, good(stack, iss=None)),
        "another iss": sign(stack, HEAD, good(stack, iss="https://evil.example")),
        "iss with a slash": sign(stack, HEAD, good(stack, iss=stack.issuer.iss + "/")),
        "iss in capitals": sign(stack, HEAD, good(stack, iss=stack.issuer.iss.upper())),
        "no sub": sign(stack, HEAD, good(stack, sub=None)),
        "sub empty": sign(stack, HEAD, good(stack, sub="")),
        "sub of no text": sign(stack, HEAD, good(stack, sub=["agent-7"])),
        "sub with a newline": sign(stack, HEAD, good(stack, sub="a\nb")),
        "a list": sign(stack, HEAD, "[]"),
        "no json": sign(stack, HEAD, "{"),
        "deep json": sign(stack, HEAD, "[" * 5000),
        "four parts": honest + ".x",
        "spaces": honest.replace(".", ". "),
        "padding": f"{first}=.{second}.{third}",
        "standard alphabet": f"{first}.{second}+/.{third}",
        "jwe": f"{first}.x.y.z.{third}",
        "huge": honest + "A" * 20_000,
        "not utf-8": honest[:-1] + "\udcff",
        "a ticket": "wwt_" + "A" * 60,
        "empty": "",
    }  # fmt: skip


def attempt(stack: Stack, token: str) -> str:
    from wire import frame, startup

    with Wire(stack.port) as wire:
        wire.send(startup({"user": "agent", "database": "shop"}))
        wire.until("R")
        wire.send(frame("p", token.encode("utf-8", "surrogateescape") + b"\0"))
        answer = wire.until("ZE")
        assert "agent-7" not in str(answer), "a stranger is not told what was right"
        return answer.code


def test_none_passes(anything: Stack) -> None:
    with Wire(anything.port) as wire:
        honest = sign(anything, HEAD, good(anything))
        assert wire.login(honest, {"user": "a", "database": "shop"}).status == "I", "the proof"
    for name, token in forgeries(anything).items():
        assert attempt(anything, token) in ("28P01", "08P01"), name
    assert "Traceback" not in anything.output()


@pytest.mark.parametrize("name", ["http://127.0.0.1:1", "127.0.0.1:1/jwks"])
def test_no_key_is_fetched_for_a_token(anything: Stack, name: str) -> None:
    """``jku`` names a listener of ours: nobody must call."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        port = trap.getsockname()[1]
        head = {**HEAD, "jku": name.replace(":1", f":{port}"), "x5u": f"http://127.0.0.1:{port}/"}
        attempt(anything, sign(anything, head, good(anything), OTHER))
        with pytest.raises(TimeoutError):
            trap.accept()
