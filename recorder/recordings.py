"""Copies of Logs in an object store that speaks S3 (``s3://bucket/prefix``).

An object is only ever created, never written over: the store must refuse a second creation, and
is asked to before anything else. What was put there is read back and compared. Keys are
``<prefix>/<home of the gateway>/sessions/YYYY/MM/DD/<id>.agr``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from recorder.store import RECORDINGS, StoreError, store_of_environment

URL = RECORDINGS
MOST = 1 << 30
"""Bytes of an object that is fetched."""


class RecordingsError(Exception):
    """The store can't be used, or does not hold what it should."""


class Recordings:
    """An object store. Raises ``RecordingsError`` on anything that goes wrong with it."""

    def __init__(self, url: str) -> None:
        if not url.startswith("s3://") or len(url) < 6:
            raise RecordingsError(f"{URL} must be s3://bucket or s3://bucket/prefix")
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise RecordingsError("object stores need obstore: install wirewarden[store]") from None
        self._obstore = obstore
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix.strip("/") or None,
                client_options={"allow_http": plain, "timeout": "60s"},
                retry_config={"max_retries": 3},
            )
        except Exception as error:
            raise RecordingsError(f"{url}: {_first(error)}") from None

    def probe(self) -> None:
        """See that a second creation is refused and changes nothing. Some stores take the
        condition and ignore it."""
        key = f"probe-{secrets.token_hex(12)}"
        if not self._create(key, b"first"):
            raise RecordingsError("the store refuses to create an object that is not there")
        refused = not self._create(key, b"second")
        kept = self.read(key)
        self.delete(key)
        if not refused or kept != b"first":
            raise RecordingsError("the store lets an object be written over: not safe for Logs")

    def upload(self, path: Path, key: str) -> bool:
        """Put a file there, and read it back. False if it was there already, the same. ``OSError``
        from reading the file."""
        data = path.read_bytes()
        new = self._create(key, data)
        if hashlib.sha256(self.read(key)).digest() != hashlib.sha256(data).digest():
            raise RecordingsError(f"{key}: the store holds something else")
        return new

    def names(self, folder: str) -> dict[str, int]:
        """Keys below ``folder``, with their sizes."""
        found: dict[str, int] = {}
        try:
            for some in self._obstore.list(self._store, folder):
                found.update((str(each["path"]), int(each["size"])) for each in some)
        except Exception as error:
            raise RecordingsError(f"{folder}: {_first(error)}") from None
        return found

    def read(self, key: str) -> bytes:
        """All of an object."""
        try:
            found = self._obstore.get(self._store, key)
            if found.meta["size"] > MOST:
                raise RecordingsError(f"{key}: is too large")
            return bytes(found.bytes())
        except RecordingsError:
            raise
        except Exception as error:
            raise RecordingsError(f"{key}: {_first(error)}") from None

    def _create(self, key: str, data: bytes) -> bool:
        """False if there is one of that key."""
        from obstore.exceptions import AlreadyExistsError

        try:
            # In one piece: the parts of a larger one would not be under the condition.
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except Exception as error:
            raise RecordingsError(f"{key}: {_first(error)}") from None
        return True

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise RecordingsError(f"{key}: {_first(error)}") from None


def _first(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def recordings_store() -> Recordings | None:
    """The store that ``[store]`` or the environment names; None if neither does."""
    try:
        url = store_of_environment().recordings
    except StoreError as error:
        raise RecordingsError(str(error)) from None
    return Recordings(url) if url else None
