"""References to secrets, in the form of vals: ``ref+<scheme>://<path>#<key>``.

A configuration holds references, never secrets.  What is not a well-formed
reference of a known scheme is an error when the configuration is read, so
that neither a typo (``reff+env://``) nor a literal password is ever taken for
a value.  More schemes are rows of ``SCHEMES``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.secrets import env, file
from gateway.secrets.errors import ReferenceInvalid, SecretUnavailable
from gateway.secrets.sensitive import Sensitive

__all__ = ["SCHEMES", "ReferenceInvalid", "Secret", "SecretUnavailable", "looks_like_reference"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one scheme is checked at start and resolved at use.

    ``check(path, key)`` raises ReferenceInvalid for a malformed path;
    ``resolve(path, key, base)`` gives the bytes or raises SecretUnavailable;
    ``warnings(path, base)`` are sentences for the log.
    """

    check: Callable[[str, str], None]
    resolve: Callable[[str, str, Path], bytes]
    warnings: Callable[[str, Path], list[str]]


SCHEMES: Mapping[str, Scheme] = {
    "env": Scheme(env.check, env.resolve, env.warnings),
    "file": Scheme(file.check, file.resolve, file.warnings),
}

_REFERENCE = re.compile(r"ref\+([a-z][a-z0-9]*)://([^#\s][^#\n\r\0]*)(?:#(/?[^#\s\0]+))?")


def looks_like_reference(text: str) -> bool:
    """True when ``text`` was meant as a reference, right or wrong."""
    return "://" in text or text.startswith("ref+")


class Secret:
    """A reference, checked; ``resolve()`` reads the secret anew each time, so
    that a rotated one is picked up. ``base`` is where relative paths start.

    Raises ReferenceInvalid for anything but a reference of a known scheme;
    its message never quotes the text, which may be a password.
    """

    __slots__ = ("_base", "_key", "_path", "scheme")

    def __init__(self, reference: str, base: Path) -> None:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise ReferenceInvalid(
                "is not a secret reference; write ref+<scheme>://<path>, with one of the schemes "
                + ", ".join(sorted(SCHEMES))
                + ", such as ref+file:///run/secrets/key"
                + " (a secret itself is never written in this file)"
            )
        self.scheme, self._path, self._key = match[1], match[2], match[3] or ""
        scheme = SCHEMES.get(self.scheme)
        if scheme is None:
            near = difflib.get_close_matches(self.scheme, SCHEMES, 1)
            raise ReferenceInvalid(
                f"has the unknown scheme {self.scheme!r}; known: {', '.join(sorted(SCHEMES))}"
                + (f" (did you mean {near[0]!r}?)" if near else "")
            )
        scheme.check(self._path, self._key)
        self._base = base

    def resolve(self) -> Sensitive:
        """The secret as it is now; SecretUnavailable when it can't be read or
        is empty. The message names the reference, never the value."""
        value = SCHEMES[self.scheme].resolve(self._path, self._key, self._base)
        if not value:
            raise SecretUnavailable(f"{self} is empty")
        return Sensitive(value)

    def warnings(self) -> list[str]:
        """What an operator should be told (a file others can read)."""
        return SCHEMES[self.scheme].warnings(self._path, self._base)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and str(self) == str(other) and self._base == other._base

    def __hash__(self) -> int:
        return hash((str(self), self._base))

    @property
    def reference(self) -> str:
        """The reference as written; no secret."""
        return f"ref+{self.scheme}://{self._path}" + (f"#{self._key}" if self._key else "")

    def __str__(self) -> str:
        return self.reference

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"
