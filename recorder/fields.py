"""Makes fields, texts and parameters fit to be written: in msgpack's types,
of bounded size, and without characters that can't be encoded. A value that
only fails when a record is packed would fail for every session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recorder import records


def writable(text: str) -> str:
    """``text``, with lone surrogates (JSON can carry them) spelled out."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def plain_value(value: object) -> Any:
    """``value`` in msgpack's types; anything else by its ``str``."""
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if value is None or isinstance(value, (bytes, float)):
        return value
    if isinstance(value, Mapping):
        return {writable(str(key)): plain_value(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [plain_value(item) for item in sorted(value, key=str)]
    if isinstance(value, Sequence):
        return [plain_value(item) for item in value]
    return writable(str(value))


def rendered(parameters: Sequence[str | None]) -> tuple[list[str | None], int]:
    """Parameters as they are stored, and about how many bytes they take.
    Long ones are cut; the bytes that arrived are in the spans."""
    size = 5 * len(parameters) + sum(4 * len(p) for p in parameters if p is not None)
    if size <= records.EVENT_MAX:
        return [p if p is None else writable(p) for p in parameters], size
    room = max(16, records.EVENT_MAX // 8 // len(parameters))
    shown = [
        p if p is None else writable(p if len(p) <= room else _start(p, room)) for p in parameters
    ]
    return shown, 5 * len(shown) + sum(4 * len(p) for p in shown if p is not None)


def _start(text: str, room: int) -> str:
    return f"{text[:room]}… ({len(text)} characters)"


def shortened(fields: dict[str, Any], size: int) -> tuple[dict[str, Any], int]:
    """Fields that take too much room, cut; ``cut`` says how much they took."""
    for most in (1000, 300, 100, 10, 1):
        short = {key: _cut(value, most) for key, value in [*fields.items()][:50]}
        short["cut"] = size
        if weight(short) <= records.EVENT_MAX:
            return short, weight(short)
    return {"cut": size}, 16


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, (str, bytes)):
        return value[: most * 4]
    if isinstance(value, list):
        return [_cut(item, most) for item in value[:most]]
    if isinstance(value, dict):
        return {key[:100]: _cut(item, most) for key, item in [*value.items()][:most]}
    return value


def weight(value: Any) -> int:
    """About how many bytes ``value`` packs to, never less."""
    if isinstance(value, str):
        return 4 * len(value) + 5
    if isinstance(value, bytes):
        return len(value) + 5
    if isinstance(value, dict):
        return 5 + sum(weight(key) + weight(item) for key, item in value.items())
    if isinstance(value, list):
        return 5 + sum(weight(item) for item in value)
    return 9
