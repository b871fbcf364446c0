"""The key of keyed masks: one for a gateway, kept in its state directory.

All workers and all restarts share it, so that a hashed value stays the same and
joins on masked columns work. Deleting the file gives new hashes for old values.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SIZE = 32


def mask_key(state: Path) -> bytes:
    """Read the key, or make it; safe when several workers start at once."""
    path = state / "mask.key"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            key = file.read(SIZE + 1)
    except FileNotFoundError:
        fresh = path.with_name(f".mask.key.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # fails, and changes nothing, where another was first
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return mask_key(state)
    if len(key) != SIZE:
        raise ValueError(f"{path} is not a key of {SIZE} bytes; delete it for a new one")
    return key
