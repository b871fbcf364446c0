"""Values that detectors must find, one form of each kind, made from a number.

None is anybody's: card and IBAN numbers have right check digits and belong to no
account, keys are letters in the shape of keys.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Mapping

LETTERS = string.ascii_letters + string.digits


def _word(n: int, length: int, letters: str = LETTERS) -> bytes:
    return "".join(random.Random(n).choices(letters, k=length)).encode()


def _card(n: int) -> bytes:
    digits = f"4111{n % 10**11:011d}"
    total = sum(
        sum(divmod(int(digit) * (2 - at % 2), 10)) for at, digit in enumerate(digits)
    )  # Luhn, the check digit left out
    return f"{digits}{-total % 10}".encode()


def _iban(n: int) -> bytes:
    account = f"37040044{n % 10**10:010d}"
    check = 98 - int(f"{account}131400") % 97  # DE00 as numbers, moved to the end
    return f"DE{check:02d}{account}".encode()


def _jwt(n: int) -> bytes:
    def part(text: str) -> bytes:
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=")

    return (
        part('{"alg":"ES256","typ":"JWT"}')
        + b"."
        + part(f'{{"sub":"job-{n}"}}')
        + b"."
        + _word(n, 86)
    )


def _private_key(n: int) -> bytes:
    begin, end = b"-----BEGIN " + b"PRIVATE KEY-----\n", b"\n-----END " + b"PRIVATE KEY-----"
    return begin + _word(n, 64) + b"\n" + _word(n + 1, 64) + end


FORMS: Mapping[str, Callable[[int], bytes]] = {
    "email": lambda n: b"person%d@mail.example.com" % n,
    "card": _card,
    "ssn": lambda n: b"%03d-%02d-%04d" % (n % 600 + 1, n % 99 + 1, n % 9999 + 1),
    "iban": _iban,
    "phone": lambda n: b"+1415555%04d" % (n % 10000),
    "jwt": _jwt,
    "private-key": _private_key,
    "aws-key": lambda n: b"AKIA" + _word(n, 16, string.ascii_uppercase + "234567"),
    "gcp-key": lambda n: b"AIza" + _word(n, 35),
    "azure-key": lambda n: b"AccountKey=" + _word(n, 86) + b"==",
    "github-token": lambda n: b"ghp_" + _word(n, 36),
    "gitlab-token": lambda n: b"glpat-" + _word(n, 20),
    "slack-token": lambda n: b"xoxb-%012d-" % n + _word(n, 24),
    "stripe-key": lambda n: b"sk_" + b"live_" + _word(n, 24),
    "npm-token": lambda n: b"npm_" + _word(n, 36),
    "pypi-token": lambda n: b"pypi-AgE" + _word(n, 80),
    "llm-key": lambda n: b"sk-" + b"ant-api03-" + _word(n, 40),
    "vault-token": lambda n: b"hvs." + _word(n, 28),
    "docker-token": lambda n: b"dckr_pat_" + _word(n, 27),
    "age-key": lambda n: b"AGE-SECRET-" + b"KEY-1" + _word(n, 58, string.ascii_uppercase),
    "sendgrid-key": lambda n: b"SG." + _word(n, 22) + b"." + _word(n + 1, 43),
    "url-password": lambda n: b"postgres://app:" + _word(n, 12) + b"@db.internal/app",
}
KINDS = tuple(FORMS)


def mixed(n: int) -> bytes:
    """A value of one kind after the other."""
    return FORMS[KINDS[n % len(KINDS)]](n)
