"""Where several gateways share what they know: ``store`` and ``recordings`` of gateway.toml, or
the environment, which comes first for the recorder's commands.

``store = "postgresql://..."`` has one index, one list of approvals and one of legal holds,
``recordings = "s3://..."`` the Logs. A table ``[store]`` with ``index`` and ``recordings`` says the
same.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

INDEX = "WIREWARDEN_INDEX"
"""``postgresql://...``. A password is better kept in libpq's own file than in it."""
RECORDINGS = "WIREWARDEN_RECORDINGS"
"""``s3://bucket/prefix``. Credentials, region and endpoint are in AWS's own variables:
``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``..."""
CONFIG = "WIREWARDEN_CONFIG"
"""The gateway.toml whose ``[store]`` stands where those are not set."""

_STARTS = {"index": ("postgresql://", "postgres://"), "recordings": ("s3://",)}
Wrong = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True, slots=True)
class Store:
    """URLs; "" where there is no shared one. ``index``: of the database."""

    index: str = ""
    recordings: str = ""

    @property
    def index_has_password(self) -> bool:
        """Whether one is in the URL, where every reader of the file sees it."""
        try:
            return bool(urlsplit(self.index).password)
        except ValueError:
            return False


class StoreError(Exception):
    """``store`` can't be read."""


def read_store(store: object, recordings: object, wrong: Wrong) -> Store:
    """What TOML gives for these two keys; what is wrong goes to ``wrong``, with its place."""
    told: dict[tuple[str, ...], tuple[str, object]] = {}
    if isinstance(store, dict):
        for key, value in store.items():
            if key in _STARTS:
                told["store", key] = (key, value)
            else:
                wrong.append((("store", key), "is not a known key (one of index, recordings)"))
    elif store is not None:
        told[("store",)] = ("index", store)
    if recordings is not None:
        told[("recordings",)] = ("recordings", recordings)
    found: dict[str, str] = {}
    for place, (key, value) in told.items():
        starts = _STARTS[key]
        if not isinstance(value, str) or not value.startswith(starts):
            wrong.append((place, f'must be a text that starts with "{starts[0]}"'))
        elif key in found:
            wrong.append((place, "is said twice, here and in the table store"))
        else:
            found[key] = value
    return Store(**found)


def store_of_environment() -> Store:
    """What is in force for commands. Raises ``StoreError``."""
    config = os.environ.get(CONFIG)
    told = Store()
    if config:
        wrong: Wrong = []
        try:
            text = Path(config).read_text("utf-8")
            raw = tomllib.loads(text)
            told = read_store(raw.get("store"), raw.get("recordings"), wrong)
        except (OSError, ValueError) as error:
            raise StoreError(f"{config}: {error}") from None
        if wrong:
            place, message = wrong[0]
            raise StoreError(f"{config}: {'.'.join(place)} {message}")
    return Store(os.environ.get(INDEX) or told.index, os.environ.get(RECORDINGS) or told.recordings)
