"""Where several gateways share an index and recordings: ``[store]`` of gateway.toml, or the
environment, which comes first."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

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
    """URLs; "" where there is no shared one."""

    index: str = ""
    recordings: str = ""


class StoreError(Exception):
    """``[store]`` can't be read."""


def read_store(raw: object, wrong: Wrong) -> Store:
    """The table as TOML gives it; what is wrong with it goes to ``wrong``."""
    if raw is None:
        return Store()
    if not isinstance(raw, dict):
        wrong.append(((), "must be a table"))
        return Store()
    found = {}
    for key, value in raw.items():
        starts = _STARTS.get(key)
        if starts is None:
            wrong.append(((key,), "is not a known key (one of index, recordings)"))
        elif not isinstance(value, str) or not value.startswith(starts):
            wrong.append(((key,), f'must be a text that starts with "{starts[0]}"'))
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
            told = read_store(tomllib.loads(text).get("store"), wrong)
        except (OSError, ValueError) as error:
            raise StoreError(f"{config}: {error}") from None
        if wrong:
            place, message = wrong[0]
            raise StoreError(f"{config}: {'.'.join(('store', *place))} {message}")
    return Store(os.environ.get(INDEX) or told.index, os.environ.get(RECORDINGS) or told.recordings)
