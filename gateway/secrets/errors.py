"""What can be wrong with a secret. Messages name references, never values."""

from __future__ import annotations


class ReferenceInvalid(ValueError):
    """The text is not a reference of a known scheme. The message continues a
    sentence whose subject is the key that holds the text."""


class SecretUnavailable(Exception):
    """The reference is well-formed and what it names can't be had now."""
