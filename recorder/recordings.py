"""Copies of Logs in an object store that speaks S3 (``s3://bucket/prefix``).

An object is only ever created, never written over: the store must refuse a second creation, and
is asked to before anything else. What was put there is read back and compared. Keys are
``<prefix>/<home of the gateway>/sessions/YYYY/MM/DD/<name of the file>``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import BinaryIO

from recorder.store import RECORDINGS, StoreError, store_of_environment

URL = RECORDINGS
PROBE = "probe"
"""An object that every upload tries to create again."""
_KEPT = b"wirewarden: this object must never be written over\n"
_PIECE = 4 << 20
_SKEW = ("RequestTimeTooSkewed", "RequestExpired", "Signature not yet current")
_LOCKED = ("AccessDenied", "ObjectLocked", "WORM", "InvalidRetention", "retention")


class RecordingsError(Exception):
    """The store can't be used, or does not hold what it should."""


class AbsentError(RecordingsError):
    """There is nothing under that key."""


class OtherObjectError(RecordingsError):
    """There is something else under that key. Only this Log can't be kept there."""


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
        self.url = url
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix.strip("/") or None,
                client_options={"allow_http": plain, "timeout": "60s", "connect_timeout": "5s"},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
            )
        except Exception as error:
            raise RecordingsError(f"{url}: {_told(error)}") from None

    def probe(self) -> None:
        """See that a second creation is refused and changes nothing. Some stores take the
        condition and ignore it. One object is left there for this."""
        self._create(PROBE, _KEPT)
        refused = not self._create(PROBE, b"written over")
        kept = self.read(PROBE)
        if not refused or kept != _KEPT:
            self.delete(PROBE)
            raise RecordingsError("the store lets an object be written over: not safe for Logs")

    def upload(self, path: Path, key: str) -> bool:
        """Put a file there, and read it back. False if it was there already, the same. ``OSError``
        from reading the file; ``OtherObjectError``."""
        data = path.read_bytes()
        new = self._create(key, data)
        if self.digest(key) != (hashlib.sha256(data).hexdigest(), len(data)):
            raise OtherObjectError(f"{key}: the store holds something else")
        return new

    def names(self, folder: str) -> dict[str, int]:
        """Keys below ``folder``, with their sizes."""
        found: dict[str, int] = {}
        try:
            for some in self._obstore.list(self._store, folder):
                found.update((str(each["path"]), int(each["size"])) for each in some)
        except BaseException as error:
            raise _trouble(folder, error) from None
        return found

    def read(self, key: str) -> bytes:
        """All of a small object."""
        return b"".join(self._pieces(key))

    def digest(self, key: str) -> tuple[str, int]:
        """SHA-256 (hex) and size of what it gives."""
        return self.fetch(key, None)

    def fetch(self, key: str, copy: BinaryIO | None, most: int | None = None) -> tuple[str, int]:
        """Write an object to ``copy``; its SHA-256 (hex) and size. One of more than ``most``
        bytes is not read to its end."""
        found, size = hashlib.sha256(), 0
        for piece in self._pieces(key):
            found.update(piece)
            size += len(piece)
            if most is not None and size > most:
                break
            if copy is not None:
                copy.write(piece)
        return found.hexdigest(), size

    def _pieces(self, key: str) -> Iterator[bytes]:
        try:
            for piece in self._obstore.get(self._store, key).stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except FileNotFoundError:
            raise AbsentError(f"{key}: is not there") from None
        except BaseException as error:
            raise _trouble(key, error) from None

    def _create(self, key: str, data: bytes) -> bool:
        """False if there is one of that key."""
        from obstore.exceptions import AlreadyExistsError

        try:
            # In one piece: the parts of a larger one would not be under the condition.
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except BaseException as error:
            raise _trouble(key, error) from None
        return True

    def delete(self, key: str) -> None:
        """Delete an object, if it is there. What a lock of the store holds stays, and is told."""
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except BaseException as error:
            if any(word in str(error) for word in _LOCKED):
                key += ": the store does not let it be deleted (a lock, or permissions)"
            raise _trouble(key, error) from None


def _trouble(about: str, error: BaseException) -> RecordingsError:
    """What went wrong. The client library panics at answers that no store should give, and a
    panic is no ``Exception``."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return RecordingsError(f"{about}: {_told(error)}")


def _told(error: BaseException) -> str:
    text = str(error)
    if any(word in text for word in _SKEW):
        return "the clocks of this machine and of the store differ too much"
    lines = text.splitlines()
    return lines[0] if lines else type(error).__name__


def recordings_store() -> Recordings | None:
    """The store that the configuration or the environment names; None if neither does.
    ``RecordingsError``."""
    try:
        url = store_of_environment().recordings
    except StoreError as error:
        raise RecordingsError(str(error)) from None
    return recordings_at(url) if url else None


def recordings_at(url: str) -> Recordings:
    """The store of a URL, once for each. ``RecordingsError``."""
    return _made(url, os.environ.get("AWS_ENDPOINT_URL", ""))


@cache
def _made(url: str, endpoint: str) -> Recordings:
    return Recordings(url)
